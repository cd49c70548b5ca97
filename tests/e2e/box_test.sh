#!/bin/bash
# SPDX-License-Identifier: MIT
# Description: scripts/box keeps its promises: streams, status, signals, file system, faults,
# nothing left behind. Prints TAP. Usage: box_test.sh [NAME...] runs the tests with these names;
# BOX_ARGS='--kind tcg --kernel 6.1' tests another kind.
# Commands in single quotes are for the shell inside the box.
# shellcheck disable=SC2016
set -uo pipefail

tree=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=$("$tree/scripts/setup" --print cache) || exit 1
read -ra box_args <<<"${BOX_ARGS:-}"
# A directory that a box can write to; build/ may be cleaned while this runs.
work=$(mktemp -d "$cache/box-test.XXXXXX")
trap 'rm -rf "$work"' EXIT
number=0
failed=0

box() {
	timeout -k 5 240 "$tree/scripts/box" "${box_args[@]}" "$@"
}

# box_start CMD...: runs a box in the background without timeout(1) between; sets pid.
box_start() {
	rm -f "$work/out"
	"$tree/scripts/box" "${box_args[@]}" "$@" </dev/null >"$work/out" 2>"$work/err" &
	pid=$!
}

wait_for() {
	local i
	for ((i = 0; i < 600; i++)); do
		! eval "$1" || return 0
		sleep 0.1
	done
	echo "# waited a minute in vain: $1"
	return 1
}

expect() {
	[ "$1" = "$2" ] && return
	echo "# expected: $(printf '%q' "$2")"
	echo "# got:      $(printf '%q' "$1")"
	return 1
}

# status_of CMD...: exit status as text.
status_of() {
	"$@" >"$work/out" 2>"$work/err"
	echo $?
}

# Every process of the box that was started with BOX_TEST in its environment.
machine_processes() {
	grep -lsz "^BOX_TEST=$work\$" /proc/[0-9]*/environ
}

test_streams() { # stdin, stdout and stderr are separate and carry any byte
	head -c 1000000 /dev/urandom >"$work/in"
	box -- sh -c 'tee "$0" >&2; cat "$0"; rm "$0"' "$work/copy" \
		<"$work/in" >"$work/out" 2>"$work/err"
	expect $? 0 && cmp "$work/in" "$work/out" && cmp "$work/in" "$work/err"
}

test_status() { # exit status of the command is the box's
	local status
	for status in 0 1 42 255; do
		expect "$(status_of box -- sh -c "exit $status")" $status || return 1
	done
	expect "$(status_of box -- sh -c 'kill -9 $$')" 137 &&
		expect "$(status_of box -- sh -c 'kill -SEGV $$')" 139 &&
		expect "$(status_of box -- no-such-command)" 127 &&
		expect "$(status_of box -- "$tree/README.md.none/x")" 127 &&
		expect "$(status_of box -- /etc/passwd)" 126
}

test_arguments() { # words arrive as they were given
	# shellcheck disable=SC1003
	local words=('a b' '' "it's" '"q"' $'two\nlines' '*' '$HOME' 'é' '\')
	box -- printf '<%s>' "${words[@]}" </dev/null >"$work/out"
	expect "$(cat "$work/out")" "$(printf '<%s>' "${words[@]}")"
}

test_environment() { # directory and environment are the caller's
	mkdir -p "$work/a dir"
	expect "$(cd "$work/a dir" && VALUE=$'x\ny' box --env OTHER=z -- \
		sh -c 'pwd; echo "$VALUE|$OTHER|$HOME"' </dev/null)" \
		"$work/a dir"$'\n'$'x\ny'"|z|$HOME"
}

test_environment_names_box() { # the command learns where it is
	box -- sh -c 'test -e "$SLUICE_KDIR/Makefile" && test -n "$SLUICE_BOX"' </dev/null
}

test_root_read_only() { # the host's files cannot be changed
	expect "$(status_of box -- touch /etc/box-test)" 1 && [ ! -e /etc/box-test ] &&
		grep -q 'Read-only' "$work/err"
}

test_fresh_directories() { # /tmp, /run and /dev/shm start empty and leave nothing
	local name=/tmp/box-test.$$
	echo host >"$name"
	expect "$(box -- sh -c "ls -A /tmp /run /dev/shm | grep -v :; echo x >$name; cat $name" \
		</dev/null | tr -d '\n')" x && expect "$(cat "$name")" host
	rm -f "$name"
}

test_tree_and_cache_writable() { # what is written there is on the host
	rm -f "$cache/box-test.$$"
	box -- sh -c "echo t >'$work/t' && echo c >'$cache/box-test.$$'" </dev/null
	expect $? 0 && expect "$(cat "$work/t" "$cache/box-test.$$")" $'t\nc'
	local result=$?
	rm -f "$cache/box-test.$$"
	return $result
}

test_hidden_directory() { # a directory below /tmp is visible with --rw, and as the current one
	local dir result
	dir=$(mktemp -d)
	echo y >"$dir/x"
	expect "$(cd "$dir" && box -- cat x </dev/null)" y &&
		expect "$(status_of box --rw "$dir" -- sh -c "echo z >$dir/x")" 0 &&
		expect "$(cat "$dir/x")" z
	result=$?
	rm -rf "$dir"
	return $result
}

test_processors() { # the number of processors is what was asked for
	expect "$(box --cpus 2 -- nproc </dev/null)" 2 &&
		expect "$(box --cpus 1 -- nproc </dev/null)" 1
}

test_interrupt() { # SIGINT reaches the command
	box_start -- sh -c 'echo up; exec sleep 300'
	wait_for '[ -s "$work/out" ]' || return 1
	kill -INT $pid
	wait $pid
	expect $? 130
}

test_interrupt_handled() { # a command that handles SIGINT decides itself
	box_start -- bash -c 'trap "echo got; exit 3" INT; echo up; while :; do sleep 0.1; done'
	wait_for '[ -s "$work/out" ]' || return 1
	kill -INT $pid
	wait $pid
	expect $? 3 && expect "$(cat "$work/out")" $'up\ngot'
}

test_terminate() { # SIGTERM ends a command that ignores it
	box_start -- sh -c 'trap "" TERM; echo up; sleep 300'
	wait_for '[ -s "$work/out" ]' || return 1
	kill -TERM $pid
	wait $pid
	expect $? 143
}

# Files by which a box could be known, where it might leave them.
leftovers() {
	find /dev/shm /tmp "$work/tmp" "$cache/box" -maxdepth 1 \
		\( -name '*box*tmp*' -o -name '*vm_file*' -o -name '*uml*' \
		-o -path "$work/tmp/*" \) | sort
}

test_kill() { # kill -9 of the box leaves no process and no file
	local before
	mkdir -p "$work/tmp"
	before=$(leftovers)
	export BOX_TEST=$work
	TMPDIR=$work/tmp box_start -- sh -c 'echo up; exec sleep 300'
	unset BOX_TEST
	wait_for '[ -s "$work/out" ]' || return 1
	[ -n "$(machine_processes)" ] || { echo "# no process of the box was found"; return 1; }
	kill -KILL $pid
	wait $pid 2>/dev/null
	wait_for '[ -z "$(machine_processes)" ]' || return 1
	expect "$(leftovers)" "$before"
}

test_map_count() { # UML's host limit is raised while a box runs, and by root put back
	local count
	[ "$(id -u)" = 0 ] && [ "$(box --show | sed -n 's/^SLUICE_BOX=//p')" = uml ] || return 0
	box_start -- sh -c 'echo up; exec sleep 300'
	wait_for '[ -s "$work/out" ]' || return 1
	count=$(cat /proc/sys/vm/max_map_count)
	kill -TERM $pid
	wait $pid
	expect $((count >= 1048576)) 1 || return 1
	# Another box may run: then it is the one to put the value back.
	flock -n "$cache/lock/max_map_count" true || return 0
	expect "$(wc -c <"$cache/lock/max_map_count")" 0
}

test_reader_gone() { # a reader that goes away ends the writer
	box -- yes </dev/null 2>/dev/null | head -n 1 >/dev/null
	expect "${PIPESTATUS[0]}" 141
}

test_background_process() { # a process left behind does not hold the box
	local start=$SECONDS
	expect "$(box -- sh -c 'sleep 300 & echo done' </dev/null)" 'done' &&
		[ $((SECONDS - start)) -lt 120 ]
}

test_timeout() { # --timeout ends a command
	expect "$(status_of box --timeout 1 -- sleep 300)" 124
}

test_parallel() { # several boxes run at the same time
	local pids=() i
	for i in 1 2 3; do
		box --mem 512M -- sh -c "sleep 1; exit $i" </dev/null &
		pids+=($!)
	done
	for i in 1 2 3; do
		wait "${pids[i - 1]}"
		expect $? $i || return 1
	done
}

test_panic() { # a panic fails the box and shows the log
	expect "$(status_of box -- sh -c 'echo c >/proc/sysrq-trigger')" 70 &&
		grep -q 'Kernel panic' "$work/err"
}

build_module() {
	local kdir
	kdir=$(box --show | sed -n 's/^SLUICE_KDIR=//p')
	mkdir -p "$work/module"
	echo 'obj-m := boxtest.o' >"$work/module/Makefile"
	cat >"$work/module/boxtest.c" <<'EOF'
#include <linux/module.h>
static bool warn;
module_param(warn, bool, 0);
static int __init boxtest_init(void)
{
	WARN(warn, "as asked");
	return 0;
}
static void __exit boxtest_exit(void) { }
module_init(boxtest_init);
module_exit(boxtest_exit);
MODULE_DESCRIPTION("test of scripts/box");
MODULE_LICENSE("GPL");
EOF
	make -s -C "$kdir" M="$work/module" >"$work/make" 2>&1
	expect $? 0 && expect "$(cat "$work/make")" ''
}

test_module() { # a module builds without a warning, loads, unloads
	build_module || return 1
	expect "$(status_of box -- sh -c "insmod $work/module/boxtest.ko &&
		grep -c boxtest /proc/modules && rmmod boxtest")" 0 &&
		expect "$(cat "$work/out")" 1
}

test_warning() { # a WARN fails the box even if the command succeeds
	build_module || return 1
	expect "$(status_of box -- insmod "$work/module/boxtest.ko" warn=1)" 70 &&
		grep -q 'as asked' "$work/err"
}

test_terminal() { # a terminal has its size, its Ctrl-C, and is restored
	python3 - "$tree/scripts/box" "${box_args[@]}" <<'EOF'
import fcntl, os, pty, select, struct, sys, termios, time
pid, master = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:] + ["--", "sh", "-c",
             "stty size; test -t 0 && test -t 1 && test -t 2 && echo three; "
             "trap 'stty size; exit 9' INT; echo ready; while :; do sleep 0.1; done"])
def size(rows, cols):
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))
size(33, 77)
before = termios.tcgetattr(master)
text, end, sent = b"", time.time() + 120, False
while time.time() < end:
    if select.select([master], [], [], 0.5)[0]:
        try:
            data = os.read(master, 4096)
        except OSError:
            break
        if not data:
            break
        text += data
    if b"ready" in text and not sent:
        size(44, 88)
        time.sleep(0.5)
        os.write(master, b"\x03")
        sent = True
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
words = text.replace(b"^C", b"").split()
ok = (status == 9 and words[:2] == [b"33", b"77"] and b"three" in words
      and words[-2:] == [b"44", b"88"] and termios.tcgetattr(master) == before)
if not ok:
    print("# status", status, "output", text, "terminal", before, termios.tcgetattr(master))
sys.exit(not ok)
EOF
}

test_bad_usage() { # mistakes are named, with status 125
	local args
	for args in '--kind nonsense -- true' '--kernel 1.0 -- true' '--mem 5x -- true' \
		'--cpus 99 -- true' '--rw /no/such -- true' '--unknown -- true' '--'; do
		# shellcheck disable=SC2086
		expect "$(status_of "$tree/scripts/box" $args)" 125 || return 1
		expect "$(wc -l <"$work/err")" 1 || return 1
	done
}

run() {
	local name=$1 what
	what=$(sed -n "s/^test_$name() { # //p" "${BASH_SOURCE[0]}")
	number=$((number + 1))
	if "test_$name"; then
		echo "ok $number $name: $what"
	else
		echo "not ok $number $name: $what"
		tail -n 5 "$work/err" 2>/dev/null | sed 's/^/# err: /'
		failed=$((failed + 1))
	fi
}

main() {
	local names=("$@")
	[ $# -gt 0 ] ||
		mapfile -t names < <(sed -n 's/^test_\([a-z_]*\)() .*/\1/p' "${BASH_SOURCE[0]}")
	echo "TAP version 13"
	echo "1..${#names[@]}"
	for name in "${names[@]}"; do
		run "$name"
	done
	[ $failed -eq 0 ]
}

main "$@"
