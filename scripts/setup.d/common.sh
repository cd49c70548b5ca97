# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2154 # here, cache, refresh: set by the script that reads this file
# Messages, progress, locks and content hashes for scripts/setup and scripts/box.

tool=${0##*/}

die() {
	printf '%s: %s\n' "$tool" "$*" >&2
	exit 1
}

say() {
	printf '%s: %s\n' "$tool" "$*" >&2
}

# First 16 digits of a hash over standard input: the key of a thing in the cache.
content_key() {
	sha256sum | cut -c1-16
}

# locked NAME COMMAND...: one set-up of NAME at a time; others wait and then find it done.
locked() {
	local name=$1
	shift
	mkdir -p "$cache/lock"
	exec {lock_fd}>"$cache/lock/$name"
	if ! flock -n "$lock_fd"; then
		say "$name: waiting for another set-up of the same"
		flock "$lock_fd"
	fi
	"$@" {lock_fd}>&-
	exec {lock_fd}>&-
}

# progress_line TEXT: overwrites the line on a terminal, else adds one.
progress_line() {
	if [ -t 2 ]; then
		printf '\r\033[K%s: %s' "$tool" "$1" >&2
	else
		say "$1"
	fi
}

# with_progress LABEL EXPECTED LOG COMMAND...: runs COMMAND with its output in LOG and shows the
# elapsed time, and the share of EXPECTED output lines (0: unknown). Shows the log's end on failure.
with_progress() {
	local label=$1 expected=$2 log=$3 start=$SECONDS pid lines text every=1 next=0
	shift 3
	[ -t 2 ] || every=15
	# In a process group of its own: an interrupted set-up must not leave its compilers behind.
	set -m
	"$@" >"$log" 2>&1 </dev/null &
	pid=$!
	set +m
	# shellcheck disable=SC2064
	trap "kill -- -$pid 2>/dev/null; wait $pid 2>/dev/null || true; exit 130" INT TERM HUP
	while kill -0 "$pid" 2>/dev/null; do
		if [ $((SECONDS - start)) -ge "$next" ]; then
			text="$label: $((SECONDS - start)) s"
			if [ "$expected" -gt 0 ]; then
				lines=$(wc -l <"$log")
				lines=$((lines * 100 / expected))
				text+=", $((lines > 99 ? 99 : lines)) %"
			fi
			progress_line "$text"
			next=$((SECONDS - start + every))
		fi
		sleep 0.2
	done
	trap - INT TERM HUP
	if ! wait "$pid"; then
		[ ! -t 2 ] || echo >&2
		tail -n 25 "$log" >&2
		die "$label failed; the whole output is in $log"
	fi
	progress_line "$label: done in $((SECONDS - start)) s"
	[ ! -t 2 ] || echo >&2
}

# point LINK TARGET: makes LINK a symbolic link to TARGET in one step.
point() {
	ln -sfn "$2" "$1.new.$$"
	mv -T "$1.new.$$" "$1"
}
