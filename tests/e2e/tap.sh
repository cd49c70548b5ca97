# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# What the tests of programs share: TAP on stdout. Sourced, with $0 the test.

set -u
tree=$(cd "$(dirname "$0")/../.." && pwd)
O=${O:-$tree/build}
PATH=$O/bin:$PATH
patience=1
[ "${SLUICE_BOX:-}" != tcg ] || patience=10	# a processor in software
work=$(mktemp -d)
export SLUICE_RUN_DIR=$work/run
count=0 failures=0

# try COMMAND...: sets status, out, err.
try() {
	tried="$*"
	"$@" >"$work/out" 2>"$work/err" </dev/null
	status=$?
	out=$(cat "$work/out")
	err=$(cat "$work/err")
}

report() {
	count=$((count + 1))
	if [ "$1" = ok ]; then
		echo "ok $count - $2"
		return
	fi
	failures=$((failures + 1))
	echo "not ok $count - $2"
	printf '# tried: %s\n# status: %s\n' "$tried" "$status"
	printf '%s\n' "$out" | sed 's/^/# out: /' | head -n 20
	printf '%s\n' "$err" | sed 's/^/# err: /' | head -n 20
}

# check DESCRIPTION CONDITION...: one test; the condition is a command that must succeed.
check() {
	local description=$1
	shift
	if "$@"; then report ok "$description"; else report 'not ok' "$description"; fi
}

skip() {
	count=$((count + 1))
	echo "ok $count - $1 # SKIP $2"
}

succeeds() {
	[ "$status" -eq 0 ] && [[ $out =~ $1 ]]
}

# fails STATUS REGEX: that exit status, and one line on stderr that matches.
fails() {
	[ "$status" -eq "$1" ] && [[ $err =~ $2 ]] && [ "$(wc -l <"$work/err")" -eq 1 ]
}

# A wrong command line: argp adds a second line that names --help.
usage() {
	[ "$status" -eq 2 ] && [[ $err =~ $1 ]]
}

# json FILTER: the output is JSON, and the jq filter says true of it.
json() {
	[ "$status" -eq 0 ] && [ "$(jq -r "$1" "$work/out")" = true ]
}

# within SECONDS COMMAND...: until it succeeds.
within() {
	local deadline=$((SECONDS + $1 * patience))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$SECONDS" -lt "$deadline" ] || return 1
		sleep 0.05
	done
}

# field STAGE FILTER: what sluicectl show says of a stage.
field() {
	sluicectl show "$1" --json | jq -r "$2"
}

is() {
	[ "$(field "$1" "$2")" = "$3" ]
}
