# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# Boost.Interprocess

build_boost() {
	build_c boost "$1"
}

list_boost() {
	line boost spin,sleep round,flow,payload \
		"Boost.Interprocess $(version_of libboost-dev): a message_queue of slots each way, payload in managed_shared_memory, its handle in the queue; spin asks with try_receive" \
		"$1/boost"
}
