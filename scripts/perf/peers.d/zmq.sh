# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# ZeroMQ

build_zmq() {
	build_c zmq "$1"
}

list_zmq() {
	line zmq spin,sleep round,flow,payload \
		"ZeroMQ $(version_of libzmq5): PAIR over ipc://, one I/O thread, high-water marks = slots, payload sent without a copy; spin asks with ZMQ_DONTWAIT and yields" \
		"$1/zmq"
}
