# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# What the tests of programs share: TAP on stdout, the box, the module. Sourced, with $0 the test.

set -u
tree=$(cd "$(dirname "$0")/../.." && pwd)
O=${O:-$tree/build}
PATH=$O/bin:$PATH
if [ ! -e /dev/sluice/control ] && [ -z "${SLUICE_BOX:-}" ]; then
	make -s -C "$tree" O="$O" userspace >&2 && "$tree/scripts/build-kmod" uml >&2 || exit 1
	exec "$tree/scripts/box" --kind uml -- "$0" "$@"
fi
patience=1
[ "${SLUICE_BOX:-}" != tcg ] || patience=10	# a processor in software
work=$(mktemp -d)
export SLUICE_RUN_DIR=$work/run
count=0 failures=0 inserted=

# try COMMAND...: sets status, out, err.
try() {
	tried="$*"
	"$@" >"$work/out" 2>"$work/err" </dev/null
	status=$?
	out=$(cat "$work/out")
	err=$(cat "$work/err")
}

# check DESCRIPTION CONDITION...: one test; the condition is a command that must succeed.
check() {
	local description=$1
	shift
	count=$((count + 1))
	if "$@"; then
		echo "ok $count - $description"
		return
	fi
	failures=$((failures + 1))
	echo "not ok $count - $description"
	printf '# tried: %s\n# status: %s\n' "$tried" "$status"
	printf '%s\n' "$out" | sed 's/^/# out: /' | head -n 20
	printf '%s\n' "$err" | sed 's/^/# err: /' | head -n 20
}

succeeds() {
	[ "$status" -eq 0 ] && [[ $out =~ $1 ]]
}

# fails STATUS REGEX: that exit status, and one line on stderr that matches.
fails() {
	[ "$status" -eq "$1" ] && [[ $err =~ $2 ]] && [ "$(wc -l <"$work/err")" -eq 1 ]
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

# is STAGE FILTER VALUE: what sluicectl show says of a stage.
is() {
	[ "$(sluicectl show "$1" --json | jq -r "$2")" = "$3" ]
}

# The module of this kernel, where scripts/build-kmod put it.
insert_module() {
	local kernel
	[ ! -e /dev/sluice/control ] || return 0
	case ${SLUICE_BOX:-host}:$(basename "${SLUICE_KDIR:-}") in
	uml:debug*) kernel=debug ;;
	uml:* | host:*) kernel=${SLUICE_BOX:-host} ;;
	*) kernel=$(uname -r | cut -d. -f1,2) ;;
	esac
	insmod "$("$tree/scripts/build-kmod" --print "$kernel")" && inserted=1 && return
	echo "Bail out! no module for this kernel: scripts/build-kmod $kernel"
	exit 1
}

# The module goes, if it was put in here; the last line.
finish() {
	if [ -n "$inserted" ]; then
		try true
		check "the module can be removed" within 5 rmmod sluice
	fi
	rm -rf "$work"
	echo "1..$count"
	[ "$failures" -eq 0 ]
	exit
}
