#!/bin/bash
# SPDX-License-Identifier: MIT
# Description: every command of sluicectl, its success and its errors, against the real module.
#
# TAP on stdout. Runs as root in a box; outside of one it builds what it needs and goes into the
# default one:
#
#	tests/e2e/sluicectl_test.sh
#	scripts/box --kind tcg --kernel 6.1 -- tests/e2e/sluicectl_test.sh
#
# Inserts the module if it is not there. MODEL=FILE is SmolLM2-135M-Instruct.Q4_1.gguf, if it is not
# the one of scripts/setup; with MODEL=none, and in QEMU, no model is asked.

# shellcheck source=tests/e2e/module.sh
. "$(dirname "$0")/module.sh"
MODEL=${MODEL:-$("$tree/scripts/setup" --print model 2>/dev/null)}
[ "$MODEL" != none ] && [ "${SLUICE_BOX:-}" != tcg ] || MODEL=	# no processor for it
trap 'clean_up' EXIT

clean_up() {
	local file name
	for file in "$SLUICE_RUN_DIR"/*.json; do
		[ -e "$file" ] && sluicectl down "$(basename "$file" .json)" --force --timeout 5s 2>/dev/null
	done
	for name in $(sluicectl list --json 2>/dev/null | jq -r '.[].name'); do
		case $name in
		t.*) sluicectl destroy --force "$name" 2>/dev/null ;;
		esac
	done
	rm -rf "$work"
}

# ------------------------------------------------------------------------------- tests ---

test_help() {
	local command
	try sluicectl --help
	check "--help lists the commands with an example" succeeds 'create .*Example:.*sluicectl up'
	try sluicectl --version
	check "--version tells release and ABI" succeeds '^sluicectl [0-9.]+, ABI version [0-9]+$'
	for command in create destroy list show stats top check send recv route join dead up down run \
		chat model; do
		try sluicectl $command --help
		check "$command --help has an example" succeeds "Usage: sluicectl $command.*Example:.*  .*sluicectl $command"
	done
	try sluicectl ls --help
	check "ls is list" succeeds 'Usage: sluicectl list'
	try sluicectl
	check "no command is an error" usage 'Usage:'
	try sluicectl lits
	check "a misspelt command is guessed" fails 2 "no command 'lits'; did you mean 'list'"
	try sluicectl list --wrong
	check "an unknown option is refused" usage "unrecognized option '--wrong'"
}

test_create() {
	try sluicectl create t.a --slots 64 --buffers 8 --buffer-size 10000 --max-attempts 2 \
		--ack-timeout 500ms --dead-letters 64 --queue 70 --mode 0640 --json
	check "create" json '.created == "t.a"'
	try sluicectl show t.a --json
	check "show --json tells the geometry" json '.nslots == 64 and .nbufs == 8 and
		.bufsize == 12288 and .max_attempts == 2 and .ack_timeout_ms == 500 and
		.dead_slots == 64 and .queue_max == 70 and .mode == "0640" and .state == "idle" and
		.endpoints == []'
	check "the node has the mode" [ "$(stat -c %a /dev/sluice/t.a)" = 640 ]
	try sluicectl create t.a
	check "a stage that exists" fails 1 "t.a.*exists already.*sluicectl destroy t.a"
	try sluicectl create t.b --slots 100
	check "slots that are no power of two" fails 2 "power of two.*not 100 \(try 128\)"
	try sluicectl create t.b --slots 32
	check "too few slots" fails 2 "from 64 to 1048576, not 32 \(try 64\)"
	try sluicectl create t.b --buffers 70000
	check "too many buffers" fails 2 "at most 65536 buffers"
	try sluicectl create t.b --buffer-size 64K
	check "a buffer size without buffers" fails 2 "without buffers"
	try sluicectl create t.b --buffers 4 --buffer-size 2G
	check "too large buffers" usage "'2G' is not a size of at most 1G"
	try sluicectl create t.b --slots 1e3
	check "a number with a tail" usage "'1e3' is not a whole number"
	try sluicectl create t.b --ack-timeout 5x
	check "a duration of no unit" usage "'5x' is not a duration: write 500ms"
	try sluicectl create t.b --max-attempts 255
	check "too many attempts" usage "from 0 to 254"
	try sluicectl create t.b --policy random
	check "an unknown policy" usage "--policy: no policy is called 'random'; there are shared, round-robin"
	try sluicectl create t.b --class high --slots 64 --buffers 2 --json
	check "create --class makes the lane of a class" json '.created == "t.b.high"'
	try sluicectl list --json
	check "which is a stage of its own" json 'any(.[]; .name == "t.b.high" and .nbufs == 2)'
	sluicectl destroy t.b.high
	try sluicectl create t.b --class dead
	check "no class is called like the dead letters" usage "'dead' cannot be the name of a class"
	sluicectl create t.policy --slots 64
	try sluicectl policy t.policy affinity
	check "another policy" succeeds ''
	try sluicectl show t.policy
	check "show tells it" succeeds 'policy affinity'
	try sluicectl policy t.policy random
	check "a policy that is unknown" usage "no policy is called 'random'"
	try sluicectl policy t.policy
	check "no policy at all" usage 'which policy'
	sluicectl destroy t.policy
	try sluicectl create t.b --mode 999
	check "a wrong mode" usage "not an octal mode such as 0660"
	try sluicectl create ../etc
	check "a hostile name" fails 2 "must begin with a letter"
	try sluicectl create control
	check "the module's own name" fails 2 "'control' is taken"
	try sluicectl create aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
	check "a name that is too long" usage "longer than 47"
	try sluicectl show t.b
	check "nothing of it was created" fails 4 "t.b.*no such stage"
}

test_messages() {
	local long
	long=$(printf 'x%.0s' $(seq 9000))
	try sluicectl send t.a hello world --kind 3 --stream 7 --counter 5 --json
	check "send --json" json '.ticket == 0 and .bytes == 11 and .counter == 5'
	try sluicectl recv t.a --no-ack --json
	check "recv --no-ack shows the message" json '.text == "hello world" and .kind == 3 and
		.stream == 7 and .counter == 5 and .attempt == 1'
	try sluicectl recv t.a --json
	check "and gives it back: it comes again, marked" json '.text == "hello world" and .attempt == 2'
	check "and then it is gone" is t.a .ready 0
	try sluicectl send t.a "$long"
	check "a message in a buffer" succeeds ''
	check "takes one" is t.a .buffers_used 1
	try sluicectl recv t.a
	check "and comes whole" [ "$out" = "$long" ]
	check "and gives it back" is t.a .buffers_used 0
	printf 'a\0b\377' >"$work/binary"
	try sluicectl send t.a --file "$work/binary"
	try sluicectl recv t.a --json
	check "binary data is hex in JSON" json '.hex == "610062ff" and .text == null'
	try sluicectl send t.a --file "$work/binary"
	sluicectl recv t.a >"$work/copy"
	check "binary data comes raw" cmp -s "$work/binary" "$work/copy"
	seq 20 >"$work/lines"
	sluicectl send t.a --lines <"$work/lines"
	sluicectl recv t.a --count 20 --timeout 5s --format line >"$work/copy"
	check "twenty lines in order" cmp -s "$work/lines" "$work/copy"
	try sluicectl send t.a x
	try sluicectl recv t.a --format hex
	check "hex" succeeds '^78$'
	try sluicectl recv t.a --timeout 100ms
	check "nothing in time" fails 7 "t.a.*no message came in time"
	try sluicectl send t.nope x
	check "send to an unknown stage" fails 4 "'t.nope'.*no such stage.*create t.nope"
	try sluicectl recv t.nope
	check "receive from an unknown stage" fails 4 "'t.nope'.*no such stage"
	head -c 20000 /dev/zero >"$work/large"
	try sluicectl send t.a --file "$work/large"
	check "a message that is too large" fails 1 "t.a.*20000 bytes.*12288.*--buffer-size"
	try sluicectl send t.a --file "$work/missing"
	check "a file that is missing" fails 4 "$work/missing.*No such file"
	try sluicectl send t.a x --file "$work/large"
	check "words and a file" usage "not both"
}

test_types() {
	head -c 9000 /dev/urandom >"$work/picture"
	try sluicectl send t.a --type image/png --file "$work/picture" --json
	check "send --type" json '.type == "image/png" and .bytes == 9000'
	sluicectl recv t.a >"$work/copy" 2>"$work/err"
	check "an encoded image comes byte for byte" cmp -s "$work/picture" "$work/copy"
	check "and its type is said beside it" grep -q 'image/png, 9000 bytes' "$work/err"
	sluicectl send t.a --type 'image:u8[?,100,3]' --file "$work/picture"
	try sluicectl recv t.a --json
	check "recv --json has type, dtype and shape" json '.type == "image:u8[30,100,3]" and
		.modality == "image" and .dtype == "u8" and .shape == [30, 100, 3] and .bytes == 9000 and
		(.hex | length) == 18000'
	sluicectl send t.a --type text hello
	try sluicectl recv t.a --json
	check "typed text is text" json '.text == "hello" and .modality == "text" and .bytes == 5'
	printf '\223SLT and no type' | sluicectl send t.a
	try sluicectl recv t.a --json
	check "a type that makes no sense" json '.type == null and .bytes == 16 and
		(.type_error | test("within the 64 of its type"))'
	sluicectl send t.a --type 'audio:i16[?]@8000' --file "$work/picture"
	sluicectl send t.a --type 'tokens:i32[3]' abcdefghijkl
	sluicectl send t.a untyped
	try sluicectl recv t.a --count 3 --accepts 'text, tokens:i32[?]'
	check "recv --accepts takes what is declared" [ "$out" = abcdefghijkl ]
	check "names what is not" grep -q "stage 't.a' takes text or tokens:i32\[?\]; got audio:i16\[4500\]@8000" "$work/err"
	check "and what has no type" grep -q "'t.a': .*the message has no type" "$work/err"
	check "and fails" [ "$status" -eq 1 ]
	try sluicectl dead list t.a --json
	check "what is refused is a dead letter at once" json 'length == 2 and all(.[]; .attempts == 1) and
		.[0].errno == 91 and .[1].errno == 42'
	sluicectl dead drop t.a --all >/dev/null
	try sluicectl send t.a --type imag/png x
	check "a modality that is unknown" usage "--type: 'imag/png': unknown modality 'imag'; known are text, tokens"
	try sluicectl send t.a --type 'tokens:int32[?]' x
	check "a dtype that is unknown" usage "unknown dtype 'int32'; known are f32"
	try sluicectl recv t.a --accepts 'text, tokens:i32[-1]'
	check "a declaration that is wrong" usage "--accepts: .*'-1' is no length of a dimension"
	try sluicectl send t.a --type 'tokens:i32[?]' hello
	check "bytes that do not fill the shape" fails 1 "t.a.*5 bytes do not fill 'tokens:i32"
}

test_example() {
	try "$O/examples/image"
	check "the example: an image comes unharmed, a sound is refused by name" succeeds \
		"got audio:f32\[16000\]@16000"
	check "with the same bytes" [ "$(grep -oE 'checksum [0-9a-f]+' "$work/out" | sort -u | wc -l)" -eq 1 ]
}

test_acknowledge() {
	(sleep 0.3; sluicectl recv t.a >"$work/copy") &
	try sluicectl send t.a --wait --timeout 5s --json hello
	wait $!
	check "send --wait returns after the ACK" json '.acknowledged == true'
	check "of the one who received it" [ "$(cat "$work/copy")" = hello ]
	try sluicectl send t.a --wait --timeout 200ms late
	check "send --wait without anybody" fails 7 "t.a.*not acknowledged"
	try sluicectl recv t.a
	check "the message is there all the same" succeeds '^late$'
	try sluicectl send t.a full
	try sh -c 'sluicectl recv t.a >/dev/full'
	check "what cannot be written out is not acknowledged" fails 1 "standard output.*given back"
	try sluicectl recv t.a --json
	check "and comes again" json '.text == "full" and .attempt == 2'
	for i in $(seq 64); do echo "$i"; done | sluicectl send t.a --lines
	try sluicectl send t.a --timeout 100ms x
	check "a full ring" fails 7 "t.a.*full"
	check "has lost nothing" is t.a .ready 64
	sluicectl recv t.a --count 64 >/dev/null
}

test_states() {
	local pid
	try sluicectl list
	check "list shows idle" succeeds 't.a +idle'
	sluicectl recv t.a --count 0 >"$work/copy" &
	pid=$!
	check "live with a consumer" within 5 is t.a .state live
	try sluicectl show t.a
	check "show names the consumer" succeeds "consumer +$pid sluicectl"
	try sluicectl show t.a --json
	check "show --json too" json ".endpoints[0] | .pid == $pid and .role == \"consumer\" and
		.command == \"sluicectl\""
	check "it sleeps" within 5 is t.a '.endpoints[0].parked' true
	kill -KILL $pid
	wait $pid 2>/dev/null
	check "the kernel notices its death" within 2 is t.a .consumers 0
	check "and counts it" [ "$(field t.a .deaths)" -ge 1 ]
	try sluicectl check t.a
	check "check of a stage that is well" [ "$status" -eq 0 ]
	sluicectl send t.a x
	check "no consumer" is t.a .state 'no consumer'
	check "the oldest message has an age below a minute" within 1 is t.a '.oldest_age_ns < 60000000000' true
	try sluicectl check t.a
	check "check tells it by its status" fails 2 "t.a.*broken: no consumer, 1 messages wait"
	try sluicectl check t.a t.nope
	check "check of an unknown stage" fails 3 "t.nope.*no such stage"
	sluicectl recv t.a >/dev/null
	sluicectl create t.count --slots 64
	sluicectl send t.count abc
	sluicectl recv t.count >/dev/null
	try sluicectl stats t.count --json
	check "stats keeps what those who are gone have done" json '.[0].published == 1 and
		.[0].claimed_total == 1 and .[0].acked == 1 and .[0].bytes == 3 and .[0].deaths == 2'
	sluicectl destroy t.count
	try sluicectl stats t.a --json
	check "stats counts" json '.[0].nacks >= 1 and .[0].deaths >= 1'
	try sluicectl stats --all --watch=50ms --rounds 2
	check "stats --watch shows rates" succeeds 'PER SECOND'
	try sluicectl stats
	check "stats of nothing" usage "name the stages, or say --all"
}

# What top and check say of a stage whose consumer is stopped, and of one with none.
test_watching() {
	local pid
	sluicectl create t.watch --slots 64 --dead-letters 64 --max-attempts 1
	try sluicectl check t.watch --json
	check "check of a stage that is well" json '.level == "healthy" and .stages["t.watch"].level == "healthy"'
	try sluicectl check --wrong
	check "check: a wrong command line is 'cannot tell'" [ "$status" -eq 3 ]
	sluicectl recv t.watch --count 0 >/dev/null &
	pid=$!
	within 5 is t.watch '.endpoints[0].parked' true
	try sluicectl top t.watch --once --interval 100ms
	check "top shows the stage" succeeds 't.watch +live +healthy +- +0.0 +0 +- +0 +0 +0 +1\+0'
	check "and its consumer, asleep" succeeds "t.watch +consumer +$pid +sluicectl +asleep"
	try sluicectl top t.watch --once --interval 50ms --json
	check "top --json" json ".stages[0] | .name == \"t.watch\" and .state == \"live\" and .health == \"healthy\" and
		.backlog == 0 and (.endpoints | length) == 1 and .endpoints[0].pid == $pid and .endpoints[0].parked"
	try sluicectl top --rounds 3 --interval 20ms --stages t.watch
	check "--rounds prints as many tables on a dumb terminal" [ "$(grep -c '^STAGE' "$work/out")" -eq 3 ]
	try sh -c "(sleep 1; printf q) | TERM=xterm timeout 60 script -qec 'sluicectl top t.watch --interval 50ms' /dev/null"
	check "on a terminal it writes over itself, and q leaves" succeeds $'\033\\[H\033\\[J.*t.watch'
	for i in $(seq 20); do sluicectl send t.watch "$i"; sleep 0.02; done &
	try sluicectl top t.watch --once --interval 300ms --json
	check "and a rate while messages pass" json '.stages[0] | .rate > 1 and .endpoints[0].rate >= 0'
	wait $!
	kill -STOP $pid
	sluicectl send t.watch held
	sluicectl check --quiet t.watch		# from the first look on it has an age
	sleep 0.1
	try sluicectl check t.watch --age 1ms
	check "an old message is 'degraded'" fails 1 'degraded: the oldest message is .* old'
	kill -CONT $pid
	check "and is well again when it goes on" within 5 sluicectl check --quiet t.watch
	kill $pid
	wait $pid 2>/dev/null
	sluicectl send t.watch a b
	sluicectl send t.watch c
	try sluicectl top t.watch --once --interval 10ms --json
	check "no consumer: top" json '.stages[0] | .state == "no consumer" and .health == "broken" and .backlog == 2'
	try sluicectl check t.watch --json
	check "no consumer: check" [ "$status" -eq 2 ]
	check "with the facts in JSON" [ "$(jq -r '.stages["t.watch"] | .level, .state, .ready, .consumers' "$work/out" | tr '\n' ' ')" = "broken no consumer 2 0 " ]
	sluicectl recv t.watch --count 2 --nack >/dev/null 2>&1
	within 5 is t.watch .ready 0
	try sluicectl check t.watch
	check "dead letters are 'degraded'" fails 1 "dead letters: 'sluicectl dead list t.watch'"
	try sluicectl check t.watch --dead 5
	check "as many as are allowed are not" [ "$status" -eq 0 ]
	check "nobody was attached to by all that" is t.watch .producers 0
	sluicectl destroy --force t.watch
	sluicectl create t.stuck --slots 64 --ack-timeout 200ms
	sluicectl recv t.stuck --count 0 >/dev/null &
	pid=$!
	within 5 is t.stuck '.endpoints[0].parked' true
	kill -STOP $pid
	sluicectl send t.stuck held
	check "a message that nobody takes" within 5 is t.stuck .state stalled
	try sluicectl check t.stuck
	check "a stopped consumer is 'broken': stalled" fails 2 "t.stuck.*broken: stalled"
	try sluicectl top t.stuck --once --interval 10ms
	check "top says it, too" succeeds 't.stuck +stalled +broken'
	kill -KILL $pid
	wait $pid 2>/dev/null
	sluicectl destroy --force t.stuck
}

test_interrupt() {
	local pid
	sluicectl recv t.a >/dev/null 2>"$work/err" &
	pid=$!
	within 5 is t.a .consumers 1
	kill -INT $pid
	# A background job of a script ignores SIGINT until its program says otherwise.
	wait $pid
	status=$?
	check "Ctrl-C ends a wait with 130" [ "$status" -eq 130 ]
}

test_dead_letters() {
	local ticket
	sluicectl send t.a --stream 9 poison
	sluicectl recv t.a --nack=22 >/dev/null
	sluicectl recv t.a --nack=22 >/dev/null
	try sluicectl dead list t.a --json
	check "two refusals make a dead letter" json 'length == 1 and .[0].text == "poison" and
		.[0].stream == 9 and .[0].errno == 22 and .[0].attempts == 2'
	ticket=$(jq '.[0].ticket' "$work/out")
	try sluicectl dead list t.a
	check "dead list shows the reason" succeeds 'Invalid argument'
	try sluicectl dead requeue t.a --ticket 123456
	check "requeue of a letter that is not there" fails 4 "no dead letter with ticket 123456"
	try sluicectl dead requeue t.a
	check "requeue wants to know which" usage "which letters"
	try sluicectl dead requeue t.a --ticket "$ticket"
	check "requeue" succeeds 'requeue: 1 letters'
	try sluicectl recv t.a --json
	check "it is back" json '.text == "poison" and .stream == 9'
	sluicectl send t.a again
	sluicectl recv t.a --nack >/dev/null
	sluicectl recv t.a --nack >/dev/null
	try sluicectl dead drop t.a --all --json
	check "drop" json '.drop == 1'
	try sluicectl dead list t.a --json
	check "none is left" json 'length == 0'
	try sluicectl create t.plain --slots 64
	try sluicectl dead list t.plain
	check "a stage without dead letters" fails 4 "t.plain.dead.*no such stage"
	sluicectl destroy t.plain
}

test_destroy() {
	local pid
	sluicectl recv t.a --count 0 >/dev/null 2>&1 &
	pid=$!
	within 5 is t.a .consumers 1
	try sluicectl destroy t.a
	check "a stage in use is not destroyed" fails 1 "t.a.*(in use|attached|busy)"
	try sluicectl destroy t.a --force
	check "destroy --force" succeeds ''
	wait $pid
	check "its consumer ends" [ $? -eq 1 ]
	try sluicectl destroy t.a
	check "destroy of an unknown stage" fails 4 "t.a.*no such stage"
	sluicectl create t.1 && sluicectl create t.2
	try sluicectl destroy t.1 t.2 --json
	check "destroy of several" json '.destroyed == ["t.1", "t.2"]'
}

test_permission() {
	local nobody=(setpriv --reuid 65534 --regid 65534 --clear-groups)
	cp "$O/bin/sluicectl" "$work/sluicectl"
	chmod 755 "$work" "$work/sluicectl"
	sluicectl create t.mine --slots 64
	try "${nobody[@]}" "$work/sluicectl" create t.theirs
	check "create without permission" fails 5 "permission.*/dev/sluice/control.*root"
	try "${nobody[@]}" "$work/sluicectl" send t.mine x
	check "send without permission" fails 5 "t.mine.*permission"
	try "${nobody[@]}" "$work/sluicectl" recv t.mine
	check "recv without permission" fails 5 "t.mine.*permission"
	sluicectl destroy t.mine
	sluicectl create t.theirs --slots 64 --owner nobody --group nogroup --mode 0600
	try "${nobody[@]}" "$work/sluicectl" send t.theirs x
	check "the owner of the node may send" succeeds ''
	try "${nobody[@]}" "$work/sluicectl" recv t.theirs
	check "and receive" succeeds '^x$'
	sluicectl destroy t.theirs
	try unshare -m sh -c 'mount -t tmpfs none /dev/sluice && sluicectl list'
	check "without a module" fails 6 "no sluice module is loaded.*insmod sluice.ko"
	try unshare -m sh -c 'mount -t tmpfs none /dev/sluice && sluicectl send t.a x'
	check "send without a module" fails 6 "insmod sluice.ko"
}

# The same sources, told that the ABI has another number.
test_abi() {
	local include=$work/include objects=() libraries object
	read -ra libraries < <(pkg-config --libs liburing json-c libedit libsystemd smartcols tomlplusplus)
	mkdir -p "$include/sluice"
	sed 's/\(define SLUICE_ABI_VERSION\).*/\1 99/' "$tree/kmod/uapi/sluice.h" >"$include/sluice/uapi.h"
	for object in "$O"/userspace/sluicectl/*.o; do
		[ "$(basename "$object")" = report.o ] || objects+=("$object")
	done
	try gcc -std=gnu11 -D_GNU_SOURCE -I"$include" -I"$tree/lib/include" -c -o "$work/report.o" \
		"$tree/userspace/sluicectl/report.c"
	try gcc -std=gnu11 -D_GNU_SOURCE -I"$include" -I"$tree/lib/include" -I"$tree/lib" -I"$tree/kmod" \
		-c -o "$work/setup.o" "$tree/lib/setup.c"
	# setup.o goes before the library, whose own setup.o is then not taken.
	try g++ -pthread ${SANITIZE:+-fsanitize=$SANITIZE} -o "$work/sluicectl-99" \
		"${objects[@]}" "$work/report.o" "$work/setup.o" \
		"$O/userspace/libsluice-client.a" "$O/lib/libsluice.a" "${libraries[@]}"
	check "a tool of another ABI builds" [ "$status" -eq 0 ]
	try "$work/sluicectl-99" list
	check "another ABI version is told" fails 6 "ABI version 1, this tool version 99.*same release"
	sluicectl create t.abi --slots 64
	try "$work/sluicectl-99" send t.abi x
	check "and no endpoint attaches" fails 6 "ABI"
	sluicectl destroy t.abi
}

# ---------------------------------------------------------------------- pipeline files ---

write_pipeline() {
	cat >"$work/p.toml" <<'END'
[pipeline]
name = "t-two"
drain_timeout = "3s"
ready_timeout = "20s"

[variables]
replicas = 2

[[stage]]
name = "t.one"
slots = 64
command = ["sluicectl", "recv", "${STAGE_ONE:-t.one}", "--count", "0"]
replicas = "${replicas}"

[[stage]]
name = "t.two"
slots = 64
buffers = 4
buffer_size = "8K"
accepts = ["tokens:i32[?]", "text"]
command = ["sh", "-c", "echo $SLUICE_PIPELINE $SLUICE_STAGE $SLUICE_REPLICA $EXTRA $SLUICE_ACCEPTS; exec sluicectl recv t.two --count 0"]
environment = { EXTRA = "extra" }
END
}

# bad LINE:COLUMN REGEX SED: the file, changed by SED, is refused with its place.
bad() {
	sed "$3" "$work/p.toml" >"$work/bad.toml"
	try timeout 20 sluicectl up "$work/bad.toml"
	check "pipeline file: $2" fails 3 "bad.toml:$1: .*$2"
}

test_bad_files() {
	write_pipeline
	bad '11:[0-9]+' '[Ee]rror while parsing' '11s/= 64/= = 64/'
	bad '11:1' "\[\[stage\]\] has no key 'slot'; did you mean 'slots'" '11s/slots/slot/'
	bad '2:1' "\[pipeline\] has no key 'nam'; did you mean 'name'" '2s/name/nam/'
	bad '11:1' "'slots'.*'many' is not a whole number" '11s/64/"many"/'
	bad '9:[0-9]+' "stage 't.one': slots must be a power of two.*not 65 \(try 128\)" '11s/64/65/'
	bad '12:1' "'command': a list of strings is wanted.*not a string" '12s/= .*/= "sluicectl"/'
	bad '13:1' "'replicas'.*'x' is not a whole number" '7s/2/"x"/'
	bad '13:1' 'NOPE.* has no value: give it one with --set NOPE=' '13s/replicas}/NOPE}/'
	bad '19:1' "'buffer_size'.*'8Q' is not a size" '19s/8K/8Q/'
	bad '15:[0-9]+' "a stage 't.one' stands in line 9 already" '16s/t.two/t.one/'
	bad '15:[0-9]+' 'this \[\[stage\]\] has no name' '16d'
	bad '20:29' "'accepts': 'imge/png': unknown modality 'imge'; known are text" '20s/"text"/"imge\/png"/'
	bad '20:1' "'accepts': a list of types is wanted" '20s/= .*/= "text"/'
	bad '3:1' "'drain_timeout'.*'3q' is not a duration" '3s/3s/3q/'
	bad '1:1' 'the pipeline has no name' '2d'
	bad '6:[0-9]+' "a pipeline file has no key 'variable'; did you mean 'variables'" '6s/variables/variable/'
	try sluicectl up "$work/missing.toml"
	check "a pipeline file that is missing" fails 4 "missing.toml: No such file"
	try sluicectl up "$work/p.toml" --set replica=3
	check "--set of an unknown variable" fails 2 "replica=3.*no such variable"
	try sluicectl up "$work/p.toml" --set replicas
	check "--set without a value" usage "is not KEY=VALUE"
	sed '12s/sluicectl/no-such-program/' "$work/p.toml" >"$work/bad.toml"
	try sluicectl up "$work/bad.toml"
	check "a program that is missing" fails 4 "'t.one'.*no program 'no-such-program'"
	check "none of them left a stage" [ "$(sluicectl list --json | jq '[.[] | select(.name | startswith("t."))] | length')" = 0 ]
}

daemon_pid() {
	jq ".daemons[] | select(.stage == \"$1\" and .replica == $2) | .pid" "$SLUICE_RUN_DIR/t-two.json"
}

restarted() {
	local pid
	pid=$(daemon_pid "$1" "$2")
	[ -n "$pid" ] && [ "$pid" != "$3" ] && is "$1" .consumers "$4"
}

test_up() {
	local pid
	try sluicectl up "$work/p.toml" --detach --json
	check "up --detach --json" json '.pipeline == "t-two" and .created == ["t.one", "t.two"] and
		(.daemons | length) == 3 and all(.daemons[]; .ready)'
	check "all consumers are attached" is t.one .consumers 2
	check "the geometry is the file's" is t.two .bufsize 8192
	check "the daemon got its environment" within 2 grep -q '^t-two t.two 0 extra tokens:i32\[?\], text$' "$SLUICE_RUN_DIR/t-two.log"
	try sluicectl show t.two
	check "show tells what the stage declares" succeeds 'accepts +tokens:i32\[\?\], text'
	try sluicectl show t.one --json
	check "and nothing of one that does not" json '.accepts == null'
	try sluicectl up "$work/p.toml"
	check "up twice" fails 1 "'t-two' is up already \(supervisor [0-9]+\).*sluicectl down t-two"
	sluicectl send t.two --wait --timeout 5s hello
	check "a daemon serves" grep -q hello "$SLUICE_RUN_DIR/t-two.log"
	pid=$(daemon_pid t.one 1)
	kill -KILL "$pid"
	check "a killed daemon is started again" within 5 restarted t.one 1 "$pid" 2
	check "and that is logged" grep -q "t.one 1 $pid killed by signal 9" "$SLUICE_RUN_DIR/t-two.log"
	pid=$(daemon_pid t.one 1)
	kill -KILL "$pid"
	check "the second time after 10 ms" within 5 grep -q "t.one 1 $pid .*again in 10 ms" "$SLUICE_RUN_DIR/t-two.log"
	check "and it is back" within 5 restarted t.one 1 "$pid" 2
}

test_idle() {
	local pid before after
	pid=$(jq .supervisor.pid "$SLUICE_RUN_DIR/t-two.json")
	sleep 1
	before=$(cut -d' ' -f14,15 "/proc/$pid/stat")
	sleep 2
	after=$(cut -d' ' -f14,15 "/proc/$pid/stat")
	tried="utime and stime of $pid" out="$before" err="$after"
	check "an idle supervisor uses no processor time" [ "$before" = "$after" ]
	check "and makes no system call" [ "$(timeout 1 strace -qq -p "$pid" 2>&1 | grep -c epoll_wait)" -le 1 ]
}

test_down() {
	local pid
	pid=$(daemon_pid t.two 0)
	try sluicectl down "$work/p.toml" --json
	check "down by file" json '.stopped == "t-two"'
	check "the daemons are gone" [ ! -e "/proc/$pid" ]
	check "the stages too" [ ! -e /dev/sluice/t.one ]
	check "and the state" [ ! -e "$SLUICE_RUN_DIR/t-two.json" ]
	try sluicectl down t-two
	check "down of what is not up" fails 4 "no pipeline 't-two' is up"
}

test_stages_that_exist() {
	sluicectl create t.one --slots 128
	try sluicectl up "$work/p.toml" --detach
	check "a stage of another geometry" fails_loudly 1 "p.toml:9: stage 't.one' exists already, but it has 128 slots instead of 64"
	sluicectl destroy t.one
	sluicectl create t.one --slots 64
	try sluicectl up "$work/p.toml" --detach --set replicas=1
	check "a stage of the same geometry is used; --set counts" is t.one .consumers 1
	sluicectl down t-two
	check "and not destroyed, since it was not created" [ -e /dev/sluice/t.one ]
	sluicectl destroy t.one
}

# Like fails, but more than one line: --detach adds where the log is.
fails_loudly() {
	[ "$status" -eq "$1" ] && [[ $err =~ $2 ]]
}

test_foreground() {
	local pid
	sluicectl up "$work/p.toml" 2>"$work/err" &
	pid=$!
	check "up in the foreground" within 10 grep -q "'t-two' is up; Ctrl-C" "$work/err"
	kill -TERM $pid
	wait $pid
	status=$? err=$(cat "$work/err")
	check "SIGTERM ends it with 0" [ $status -eq 0 ]
	check "the daemons ended in the file's order" [ "$(grep -E 'exited|killed' "$work/err" | cut -d' ' -f1 | tr '\n' ' ')" = 't.one t.one t.two ' ]
}

test_supervisor_killed() {
	local pid daemon
	sluicectl up "$work/p.toml" --detach 2>/dev/null
	pid=$(jq .supervisor.pid "$SLUICE_RUN_DIR/t-two.json")
	daemon=$(daemon_pid t.one 0)
	kill -KILL "$pid"
	check "kill -9 of the supervisor ends the daemons" within 5 [ ! -e "/proc/$daemon" ]
	try sluicectl down t-two
	check "down cleans up after it" fails 0 "supervisor was killed; cleaning up"
	check "and destroys the stages" [ ! -e /dev/sluice/t.one ]
	sluicectl up "$work/p.toml" --detach 2>/dev/null
	kill -KILL "$(jq .supervisor.pid "$SLUICE_RUN_DIR/t-two.json")"
	try sluicectl up "$work/p.toml" --detach
	check "up cleans up after it, too" fails_loudly 0 "supervisor was killed; cleaning up"
	check "and is up" is t.one .consumers 2
	# A recycled pid: a living process that is not the supervisor must not be touched.
	kill -KILL "$(jq .supervisor.pid "$SLUICE_RUN_DIR/t-two.json")"
	within 5 is t.one .consumers 0
	sleep 60 &
	pid=$!
	jq ".supervisor.pid = $pid | .daemons[].pid = $pid" "$SLUICE_RUN_DIR/t-two.json" >"$work/stale.json"
	cp "$work/stale.json" "$SLUICE_RUN_DIR/t-two.json"
	try sluicectl down t-two
	check "a recycled pid is not killed" kill -0 $pid
	kill $pid
	wait $pid 2>/dev/null
}

test_never_ready() {
	sed '12s/t.one}/t.nope}/' "$work/p.toml" >"$work/bad.toml"
	try sluicectl up "$work/bad.toml" --detach
	check "a daemon that refuses to start" fails_loudly 1 "'t.one': 'sluicectl' exited with status 4 before it was ready"
	check "leaves no stage" [ ! -e /dev/sluice/t.one ]
	sed '12s/= .*/= ["sh", "-c", "echo try >>$work\/tries; kill -KILL $$"]/; '"s|\$work|$work|" \
		"$work/p.toml" >"$work/bad.toml"
	rm -f "$work/tries"
	try sluicectl up "$work/bad.toml" --detach
	check "a daemon that is always killed" fails_loudly 1 "'t.one': 'sh' killed by signal 9 .* before it was ready"
	check "was tried three times" [ "$(wc -l <"$work/tries")" -ge 3 ]
	sed '4s/20s/300ms/; 12s/= .*/= ["sleep", "100"]/' "$work/p.toml" >"$work/bad.toml"
	try sluicectl up "$work/bad.toml"
	check "a daemon that never attaches is named" fails_loudly 7 "'t.one' replica 0 did not attach within 300 ms"
}

test_completion() {
	try bash -c "source '$tree/userspace/sluicectl/completion/sluicectl.bash' && complete -p sluicectl"
	check "bash completion loads" succeeds 'complete -F _sluicectl sluicectl'
	try bash -c "source '$tree/userspace/sluicectl/completion/sluicectl.bash'
		COMP_WORDS=(sluicectl cr) COMP_CWORD=1; _sluicectl; echo \"\${COMPREPLY[*]}\""
	check "it completes a command" succeeds '^create$'
	sluicectl create t.completed --slots 64
	try bash -c "source '$tree/userspace/sluicectl/completion/sluicectl.bash'
		COMP_WORDS=(sluicectl show t.comp) COMP_CWORD=2; _sluicectl; echo \"\${COMPREPLY[*]}\""
	check "it completes a stage" succeeds '^t.completed$'
	try bash -c "source '$tree/userspace/sluicectl/completion/sluicectl.bash'
		COMP_WORDS=(sluicectl create --buffer-s) COMP_CWORD=2; _sluicectl; echo \"\${COMPREPLY[*]}\""
	check "it completes an option" succeeds '^--buffer-size$'
	sluicectl destroy t.completed
	try man --warnings -E UTF-8 -l "$tree/userspace/sluicectl/man/sluicectl.8"
	check "the manual page has no mistake" [ -z "$err" ]
}

# ------------------------------------------------------------------------------- model ---

test_run_without_pipeline() {
	try sluicectl run hello
	check "run without a pipeline" fails 4 "no stage 'embedding'.*sluicectl up"
	try sluicectl run ''
	check "an empty prompt" fails 2 "the prompt is empty"
	try sluicectl run
	check "no prompt" usage "which prompt"
	try sluicectl run --pipeline t-nope hello
	check "a pipeline that is not up" fails 4 "no pipeline 't-nope' is up"
	try sluicectl run --temperature -1 hello
	check "a negative temperature" usage "'-1' is not a number from 0 to 100"
	try sluicectl run --top-p 1.5 hello
	check "a probability above 1" usage "'1.5' is not a number from 0 to 1"
	printf 'caf\351' >"$work/latin1"
	try sh -c "sluicectl run - <'$work/latin1'"
	check "a prompt that is not UTF-8" fails 2 "not UTF-8.*iconv"
}

# Processor time of the supervisor and of all daemons, in ticks.
pipeline_ticks() {
	local pid
	for pid in $(jq '.supervisor.pid, .daemons[].pid' "$SLUICE_RUN_DIR/smollm2.json"); do
		cut -d' ' -f14,15 "/proc/$pid/stat"
	done
}

idle_pipeline() {
	local before after
	sleep 2
	before=$(pipeline_ticks)
	sleep 5
	after=$(pipeline_ticks)
	tried="utime and stime of five processes over five seconds" out=$before err=$after
	check "an idle pipeline uses no processor time" [ "$before" = "$after" ]
}

test_model() {
	local known='28,260,2240,282,23324,27108,436,253,15114,39228,28,351,25854,41658,284,14055,9018,30,1249,347,260,929,3514,411'
	try sluicectl up "$tree/userspace/pipelines/smollm2.toml" --set "model=$MODEL" --detach
	check "the model's pipeline comes up" fails_loudly 0 "'smollm2' is up"
	try sluicectl run --raw --tokens 24 --json 'Once upon a time'
	check "run --raw --json: prompt ids" json '.prompt_ids == [6403, 1980, 253, 655]'
	check "token ids of two independent engines" json ".token_ids == [$known]"
	check "finish reason and timings" json '.finish_reason == "length" and .tokens == 24 and
		.timings.tokens_per_second > 0 and (.timings.hops | length) == 5'
	cp "$work/out" "$work/whole"
	try sluicectl run --raw --tokens 24 --stats 'Once upon a time'
	check "run streams the same text" [ "$out" = "$(jq -r .text "$work/whole")" ]
	check "and --stats prints a table of the hops" fails_loudly 0 'decoder +24 .*tokens/s'
	try sluicectl run --tokens 12 --temperature 0.9 --seed 11 hello
	first=$out
	try sluicectl run --tokens 12 --temperature 0.9 --seed 11 hello
	check "the same seed gives the same text" [ "$out" = "$first" ]
	try sluicectl run --raw --tokens 24 --stop 'metropolis' --json 'Once upon a time'
	check "--stop ends before the text" json '.finish_reason == "stop" and (.text | test("metropolis") | not)'
	SECONDS=0
	try sh -c "sluicectl run --ignore-eos --tokens 1500 'A story.' | head -c 20"
	check "a reader that goes away stops the answer" [ "$SECONDS" -lt 15 ]
	try sh -c "sluicectl run 'A story.' >/dev/full"
	check "an answer that cannot be written out" fails 1 "standard output: No space left"
	seq 4000 >"$work/long"
	try sh -c "sluicectl run - <'$work/long'"
	check "a prompt longer than the context" fails 1 "embedding.*tokens, the context 2048"
	try sh -c "printf 'Hi\nBye\n' | sluicectl chat --tokens 5"
	check "chat answers line by line" [ "$(wc -l <"$work/out")" -eq 2 ]
	try sluicectl run --pipeline smollm2 --tokens 2 hello
	check "run --pipeline" succeeds '.'
	try "$tree/tests/e2e/sluicectl_chat.py"
	check "chat at a terminal: Ctrl-C, history, Ctrl-D" [ "$status" -eq 0 ]
	idle_pipeline
	try sluicectl down smollm2
	check "and goes down" [ "$status" -eq 0 ]
	check "leaving no stage" [ "$(sluicectl list --json | jq length)" = 0 ]
}

# -------------------------------------------------------------------------------- main ---

# The module of this kernel, where scripts/build-kmod put it.
insert_module
test_help
test_create
test_messages
test_types
test_example
test_acknowledge
test_states
test_watching
test_interrupt
test_dead_letters
test_destroy
test_permission
test_abi
test_bad_files
test_up
test_idle
test_down
test_stages_that_exist
test_foreground
test_supervisor_killed
test_never_ready
test_completion
test_run_without_pipeline
if [ -n "${MODEL:-}" ]; then
	test_model
else
	skip "the model answers" "there is no model here, or no processor for it"
fi
finish
