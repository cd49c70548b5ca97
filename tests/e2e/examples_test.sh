#!/bin/bash
# SPDX-License-Identifier: MIT
# Description: the programs of userspace/examples do what they say, against the real module.
#
# TAP on stdout. Runs as root in a box; outside of one it builds what it needs and goes into the
# default one. One function for each example.

# shellcheck source=tests/e2e/tap.sh
. "$(dirname "$0")/tap.sh"

test_route() {
	try "$O/examples/route"
	check "route: each message comes where the rules say" succeeds \
		'big +got message 4.*eyes +got message 3.*slow +got message 2.*fast +got message 1'
	check "and leaves no stage" [ "$(sluicectl list --json | jq length)" = 0 ]
}

test_broadcast() {
	try "$O/examples/broadcast"
	check "broadcast: everybody gets everything" succeeds .
}

test_state_log() {
	try "$O/examples/state_log"
	check "state_log: all see the same state" succeeds .
}

insert_module
test_route
test_broadcast
test_state_log
finish
