#!/bin/bash
# SPDX-License-Identifier: MIT
# Description: the programs of userspace/examples do what they say, against the real module.
#
# TAP on stdout. Runs as root in a box; outside of one it builds what it needs and goes into the
# default one. One function for each example.

# shellcheck source=tests/e2e/module.sh
. "$(dirname "$0")/module.sh"

prints() {
	[[ $out =~ $1 ]]
}

# What a stream shows, one counter a line.
shown() {
	sed -n "s/^stream $1: *\([0-9]*\).*/\1/p" "$work/out"
}

test_order() {
	try "$O/examples/order"
	check "order: a worker dies, a message is refused: both are told" succeeds \
		'stream 2:  7 is missing: Bad message.*[1-9][0-9]* copies were dropped'
	check "stream 1 is in order, once" [ "$(shown 1)" = "$(seq 0 11)" ]
	check "stream 2, too, with a gap" [ "$(shown 2)" = "$(seq 0 11)" ]
	check "and leaves no stage" [ "$(sluicectl list --json | jq length)" = 0 ]
}

test_batch() {
	try "$O/examples/batch"
	check "batch: all come in runs, the last ones because they are due" succeeds \
		'sent +[1-8]: overdue.*the sum of 1 to 20 is 210'
	check "and leaves no stage" [ "$(sluicectl list --json | jq length)" = 0 ]
}

test_priority() {
	try "$O/examples/priority"
	check "priority: a door with a time, after a flood that its credits bound" succeeds \
		'20 of the low class are under way: .*no credit is left'
	check "priority: the high message passes all that came before it" prints \
		$'example.priority.high 1\nexample.priority 0\nexample.priority 1'
	check "priority: refused with a time, then let in" prints 'try again in [0-9]+ ms.*let in after'
	check "priority: no stage stays" [ -z "$(find /dev/sluice -name 'example.priority*')" ]
}

test_image() {
	try "$O/examples/image"
	check "image: a picture arrives, a sound is refused by name" succeeds \
		'got audio:f32\[16000\]@16000'
}

test_call() {
	try "$O/examples/call"
	check "call: one at a time" succeeds 'sync:  desserts -> stressed'
	check "call: several at a time, each with its own reply" \
		[ "$(grep -c '^async: ' "$work/out")" -eq 5 ]
	check "call: the right ones" prints 'async: drawer -> reward'
	check "call: a refusal comes with its reason" prints "refused the call: not a word"
	check "call: a cancelled call says so" prints "the call was cancelled"
	check "call: no reply stage stays" [ -z "$(find /dev/sluice -name 'reply.*')" ]
}

test_letters() {
	try "$O/examples/letters"
	check "letters: why a message died" succeeds \
		"dead +'not for us': stream 7, counter 2, attempt 1, Protocol wrong type"
	check "letters: what was refused at once" prints "sent +'too long for us': Argument list too long"
	check "letters: they stay" prints 'and 2 letters are still there'
}

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

test_point_to_point() {
	try "$O/examples/point_to_point"
	check "point_to_point: a word in the slot, a text in a buffer" succeeds \
		'got 6 bytes in the slot: hello.*got 60000 bytes in the buffer: water'
}

test_async() {
	try "$O/examples/async"
	check "async: each ACK waited for, and all of them later" succeeds \
		'sync:  10 were acknowledged.*async: 50 are under way.*async: 49 were acknowledged'
	check "async: a completion says what was refused" prints 'async: message 43: .*domain'
}

# Of a policy: what the worker with this number did.
share() {
	awk -v policy="$1" -v n="$2" '$1 == policy { print $(n + 1) }' "$work/out"
}

test_balance() {
	local policy
	try "$O/examples/balance"
	check "balance: in turn, each gets a third" succeeds 'round-robin +30 +30 +30'
	for policy in round-robin least-outstanding weighted affinity shared; do
		check "balance: $policy loses nothing" [ 90 = \
			$(($(share "$policy" 1) + $(share "$policy" 2) + $(share "$policy" 3))) ]
	done
	check "balance: who is slow gets fewer by outstanding messages" \
		[ "$(share least-outstanding 3)" -lt 25 ]
	check "balance: and by its measured rate" [ "$(share weighted 3)" -lt 25 ]
}

test_failover() {
	try "$O/examples/failover"
	check "failover: what the dead one had is the other's" succeeds \
		'second worker: has message 0, attempt 2.*all 10 are done'
}

test_health() {
	try "$O/examples/health"
	check "health: idle, live, no consumer, stalled, live, idle" succeeds \
		'^idle .*live .*no consumer .*stalled .*live .*hints +1 producers, 1 consumers.*idle '
	check "health: and leaves no stage" [ "$(sluicectl list --json | jq length)" = 0 ]
}

insert_module
test_point_to_point
test_async
test_balance
test_failover
test_health
test_image
test_priority
test_call
test_order
test_batch
test_letters
test_route
test_broadcast
test_state_log
finish
