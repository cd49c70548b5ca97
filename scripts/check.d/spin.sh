# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# The Promela model of the protocol.

suite_spin() {
	tap spin tests/spin/run
	tap spin-mutants tests/spin/run --mutants
	grep -h '^# ' "$logs/spin.log"
}

suite_spin_short() {
	tap spin tests/spin/run --quick
	tap spin-mutants tests/spin/run --mutants no_attempt no_fence_c no_fence_d \
		publish_before_sent reap_living queue_no_look
	grep -h '^# ' "$logs/spin.log"
}
