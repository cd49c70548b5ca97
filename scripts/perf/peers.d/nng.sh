# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# nng, the successor of nanomsg

build_nng() {
	build_c nng "$1"
}

list_nng() {
	line nng spin,sleep round,flow,payload \
		"nng $(version_of libnng1): pair0 over ipc://, queues = slots, messages without a copy; spin asks with NNG_FLAG_NONBLOCK and yields" \
		"$1/nng"
}
