# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# The Promela models of the protocol and of the broadcast.

suite_spin() {
	tap spin tests/spin/run
	tap spin-mutants tests/spin/run --mutants
	grep -h '^# ' "$logs/spin.log"
}

suite_spin_short() {
	tap spin tests/spin/run --quick
	tap spin-mutants tests/spin/run --mutants no_attempt no_fence_c no_fence_d \
		publish_before_sent reap_living queue_no_look bc_recipients_first bc_add_to_empty \
		bc_expel_stale bc_take_no_member bc_empty_stays
	grep -h '^# ' "$logs/spin.log"
}
