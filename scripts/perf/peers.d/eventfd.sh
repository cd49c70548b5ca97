# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# What a message must cost at least that an event loop waits for

build_eventfd() {
	build_c eventfd "$1"
}

list_eventfd() {
	line eventfd spin,sleep round,payload \
		"shared memory and an eventfd each way, one message at a time; spin asks with EFD_NONBLOCK" \
		"$1/eventfd"
}
