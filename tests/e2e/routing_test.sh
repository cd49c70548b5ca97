#!/bin/bash
# SPDX-License-Identifier: MIT
# Description: messages go where rules say, parts are joined, whatever is killed in between.
#
# TAP on stdout. Runs as root in a box; outside of one it builds what it needs and goes into the
# default one.

# shellcheck source=tests/e2e/module.sh
. "$(dirname "$0")/module.sh"

stages() {
	local name
	for name; do
		sluicectl create "$name" --slots 64 --buffers 16 --buffer-size 64K --dead-letters 64 \
			--ack-timeout "${timeout:-5s}" >/dev/null || exit 1
	done
}

gone() {
	local name
	for name; do
		sluicectl destroy --force "$name" >/dev/null
	done
}

# background PROGRAM...: sets pid; what it says goes to $work/log.
background() {
	"$@" >"$work/log" 2>&1 </dev/null &
	pid=$!
}

attached() {
	is "$1" .consumers 1
}

# ends PID: after SIGTERM, with success
ends() {
	kill -TERM "$1"
	wait "$1"
}

received() {
	sluicectl recv "$1" --timeout 5s --format line --count "${2:-1}"
}

test_rules() {
	stages t.in t.big t.eyes t.slow t.fast
	background sluicectl route t.in 'model big* and deadline < 1m -> t.big' \
		'type image/png -> t.eyes' 'length > 4K -> t.slow' 'kind 9 -> t.fast, t.slow'
	within 5 attached t.in
	head -c 5000 /dev/zero | tr '\0' x >"$work/long"
	sluicectl send t.in --file "$work/long"
	sluicectl send t.in --type image/png --file "$work/long"
	sluicectl send t.in --model big-70b --deadline 30s hello
	sluicectl send t.in --kind 9 --stream 5 --counter 6 both
	sluicectl send t.in nowhere
	try received t.slow
	check "by length" [ "${#out}" -eq 5000 ]
	try sluicectl recv t.eyes --timeout 5s --json
	check "by type" json '.type == "image/png" and .bytes == 5000'
	try sluicectl recv t.big --timeout 5s --json
	check "by model and deadline, which are told" json '.model == "big-70b" and .text == "hello" and
		.time_left_ns > 0 and .time_left_ns < 30000000000'
	try sluicectl recv t.fast --timeout 5s --json
	check "by kind: to one stage, with stream and counter" json '.text == "both" and .kind == 9 and
		.stream == 5 and .counter == 6'
	try sluicectl recv t.slow --timeout 5s --json
	check "and to the other" json '.text == "both"'
	within 5 is t.in .dead_letters 1
	try sluicectl dead list t.in --json
	check "what no rule matches is a dead letter" json 'length == 1 and .[0].errno == 89'
	check "which is said, with the remedy" grep -q "t.in.*dead letter: no rule matches it; end the rules" \
		"$work/log"
	try true
	check "it ends on SIGTERM" ends "$pid"
	gone t.in t.big t.eyes t.slow t.fast
}

# Killed at any moment it loses nothing; --once drops what was sent twice.
test_kill() {
	local i
	timeout=1s stages t.in
	sluicectl create t.out --slots 1024 --buffers 16 --buffer-size 64K >/dev/null
	for i in 1 2 3 4; do
		background sluicectl route t.in 'default -> t.out'
		within 5 attached t.in
		seq $((i * 50 - 49)) $((i * 50)) | sluicectl send t.in --lines --stream 7 --counter $((i * 50 - 49)) &
		sleep 0.0$i
		kill -9 "$pid"
		wait "$pid" 2>/dev/null
		background sluicectl route t.in 'default -> t.out'
		wait %2 2>/dev/null || true
		within 10 is t.in .ready 0
		kill -TERM "$pid"
		wait "$pid"
	done
	try true
	within 10 is t.in .claimed 0
	background sluicectl recv t.out --count 0 --format line
	within 10 is t.out .ready 0
	kill -TERM "$pid"
	wait "$pid"
	sort -nu "$work/log" >"$work/got"
	seq 200 >"$work/want"
	check "kill -9 of the router: nothing is lost" cmp -s "$work/got" "$work/want"
	background sluicectl route t.in --once 'default -> t.out'
	within 5 attached t.in
	for i in 1 2 1 2 3; do
		sluicectl send t.in --stream 8 --counter "$i" "$i"
	done
	sluicectl send t.in "$i"
	sluicectl send t.in "$i"
	within 5 is t.in .ready 0
	try received t.out 5
	check "--once: copies are dropped, unnumbered ones are not" [ "$(echo $out)" = "1 2 3 3 3" ]
	try true
	check "and nothing else came" is t.out .ready 0
	kill -TERM "$pid"
	wait "$pid"
	gone t.in t.out
}

# A stage without room keeps nobody from going on, and gets its copy once.
test_no_room() {
	stages t.in t.b
	sluicectl create t.a --slots 64 --buffers 1 --buffer-size 64K >/dev/null
	background sluicectl route t.in 'default -> t.b, t.a'
	within 5 attached t.in
	head -c 1000 /dev/zero | tr '\0' a >"$work/one"
	sluicectl send t.in --file "$work/one" --stream 1
	sluicectl send t.in --file "$work/one" --stream 2
	try within 5 is t.b .ready 2
	check "one of two stages is full: the other one is served" [ "$status" -eq 0 ]
	sleep 1
	try received t.a 2
	check "the full one gets its copies when there is room" [ "${#out}" -eq 2001 ]
	within 5 is t.in .claimed 0
	try true
	check "and nobody gets one twice" is t.b .ready 2
	head -c 64000 /dev/zero >"$work/one"
	sluicectl create t.c --slots 64 --buffers 1 --buffer-size 4K >/dev/null
	kill -TERM "$pid"
	wait "$pid"
	background sluicectl route t.in 'default -> t.c'
	within 5 attached t.in
	sluicectl send t.in --file "$work/one"
	try within 5 grep -q "does not fit into a buffer of stage 't.c'" "$work/log"
	check "a message that is too large is a dead letter, and the remedy said" [ "$status" -eq 0 ]
	kill -TERM "$pid"
	wait "$pid"
	gone t.in t.a t.b t.c
}

test_join() {
	timeout=6s stages t.seen t.heard t.whole
	background sluicectl join t.seen t.heard t.whole --deadline 50s --verbose
	within 5 attached t.heard
	sluicectl send t.seen --stream 1 --counter 1 left1
	sluicectl send t.seen --stream 1 --counter 2 left2
	sluicectl send t.heard --stream 1 --counter 2 right2
	sluicectl send t.heard --stream 1 --counter 2 right2
	sluicectl send t.heard --stream 1 --counter 1 right1
	try sluicectl recv t.whole --timeout 5s --json
	check "what is complete first goes first" json '.stream == 1 and .counter == 2 and
		.text == null and (.hex | test("6c65667432.*726967687432"))'
	try sluicectl recv t.whole --timeout 5s --json
	check "each part finds its own" json '.counter == 1 and (.hex | test("6c65667431.*726967687431"))'
	within 5 is t.heard .claimed 0
	try true
	check "a part that came twice is dropped" is t.whole .ready 0
	try true
	check "it ends on SIGTERM" ends "$pid"
	background sluicectl join t.seen t.heard t.whole --deadline 500ms
	within 5 attached t.heard
	sluicectl send t.seen --stream 2 --counter 1 alone
	try within 5 is t.seen .dead_letters 1
	check "a part whose others do not come is a dead letter" [ "$status" -eq 0 ]
	try sluicectl dead list t.seen --json
	check "for being late" json '.[0].errno == 62 and .[0].stream == 2'
	check "which is said" grep -q 'stream 2 counter 1: nothing came from t.heard in time' "$work/log"
	sluicectl send t.heard --stream 2 --counter 1 late
	try within 5 is t.heard .dead_letters 1
	check "one that comes after it, too" [ "$status" -eq 0 ]
	kill -TERM "$pid"
	wait "$pid"
	background sluicectl join t.seen t.heard t.whole --deadline 50s
	within 5 attached t.heard
	sluicectl send t.seen --stream 3 --counter 1 left
	within 5 is t.seen .claimed 1
	kill -9 "$pid"
	wait "$pid" 2>/dev/null
	background sluicectl join t.seen t.heard t.whole --deadline 50s
	sluicectl send t.heard --stream 3 --counter 1 right
	try sluicectl recv t.whole --timeout 20s --json
	check "kill -9 while a part waits: it is joined by the next one" json '.stream == 3'
	kill -TERM "$pid"
	wait "$pid"
	try sluicectl join t.seen t.heard t.whole --deadline 1h
	check "a deadline that no claim may wait for" fails 1 'max_hold, which is less than the deadline'
	gone t.seen t.heard t.whole
}

bad_file() {
	sed "$3" "$work/p.toml" >"$work/bad.toml"
	try timeout 20 sluicectl up "$work/bad.toml"
	check "pipeline file: $2" fails 3 "bad.toml:$1: .*$2"
}

test_files() {
	cat >"$work/p.toml" <<'END'
[pipeline]
name = "t.pipe"

[[stage]]
name = "t.in"
slots = 64
buffers = 8
routes = [
	"length > 4K -> t.long",
	"kind 7 -> loop t.in",
	"default -> t.short",
]

[[stage]]
name = "t.long"
slots = 64
buffers = 8
routes = ["default -> t.short"]

[[stage]]
name = "t.short"
slots = 64
buffers = 8
END
	try sluicectl up "$work/p.toml" --detach
	check "a stage with rules and without a command is served by sluicectl route" [ "$status" -eq 0 ]
	head -c 5000 /dev/zero | tr '\0' x >"$work/long"
	sluicectl send t.in --file "$work/long"
	try received t.short
	check "by way of two of them" [ "${#out}" -eq 5000 ]
	try sluicectl stats t.long --json
	check "as the rules say" grep -q '"published": *1' "$work/out"
	try sluicectl down t.pipe
	check "and goes down" [ "$status" -eq 0 ]
	bad_file 11:2 "there is no stage 't.shirt' in this file; did you mean 't.short'" '11s/t.short/t.shirt/'
	bad_file 9:2 "unknown condition 'lenght'; there are length" '9s/length/lenght/'
	bad_file 11:2 "this rule is never reached: 'kind 7..7 -> loop t.in'" '11s/default/kind 7/'
	bad_file 10:2 "'t.in' leads back to 't.in'; write 'loop t.in'" '10s/loop //'
	bad_file 9:2 "'t.long' leads back to 't.in'; write 'loop t.long'" '18s/t.short/t.in/'
	bad_file 8:1 "a list of rules is wanted" '8s/.*/routes = "default -> t.short"/; 9,12d'
	bad_file 20:1 "shards are processes in a row: it needs a 'command'" '$s/.*/shards = 2/'
	bad_file 20:1 "ranges such as \"0-14\", \"15-29\" are wanted, .* here from 15" \
		'$s/.*/layers = ["0-14", "16-29"]\ncommand = ["sleep"]/'
	bad_file 20:1 "3 shards and 2 ranges" \
		'$s/.*/layers = ["0-14", "15-29"]\nshards = 3\ncommand = ["sleep"]/'
}

insert_module
test_rules
test_kill
test_no_room
test_join
test_files
finish
