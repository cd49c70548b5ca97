# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# What a message must cost at least that is slept for

build_futex() {
	build_c futex "$1"
}

list_futex() {
	line futex sleep round,payload \
		"shared memory and a futex: FUTEX_WAIT and FUTEX_WAKE on a message's word, one message at a time" \
		"$1/futex"
}
