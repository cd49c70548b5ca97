#!/bin/bash
# SPDX-License-Identifier: MIT
# Description: each program of userspace/examples does what its first lines say.
#
# TAP on stdout. Runs as root in a box; outside of one it builds what it needs and goes into the
# default one:
#
#	tests/e2e/examples_test.sh
#
# Inserts the module if it is not there.

set -u
tree=$(cd "$(dirname "$0")/../.." && pwd)
O=${O:-$tree/build}
if [ ! -e /dev/sluice/control ] && [ -z "${SLUICE_BOX:-}" ]; then
	make -s -C "$tree" O="$O" userspace >&2 && "$tree/scripts/build-kmod" uml >&2 || exit 1
	exec "$tree/scripts/box" --kind uml -- "$0"
fi
work=$(mktemp -d)
count=0 failures=0 inserted=
trap 'rm -rf "$work"' EXIT

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
	"$@" && echo "ok $count - $description" && return
	failures=$((failures + 1))
	echo "not ok $count - $description"
	printf '# tried: %s\n# status: %s\n' "$tried" "$status"
	printf '%s\n' "$out" | sed 's/^/# out: /' | head -n 20
	printf '%s\n' "$err" | sed 's/^/# err: /' | head -n 20
}

succeeds() {
	[ "$status" -eq 0 ] && [[ $out =~ $1 ]]
}

prints() {
	[[ $out =~ $1 ]]
}

# ----------------------------------------------------------------------- one each ---

test_image() {
	try "$O/examples/image"
	check "image: a picture arrives, a sound is refused by name" succeeds \
		'got audio:f32\[16000\]@16000'
}


test_letters() {
	try sh -c "'$O/examples/letters' 2>&1"
	check "letters: why messages died, and the letters stay" succeeds \
		"dead +'not for us': stream 7, counter 2, attempt 1, Protocol wrong type"
	check "letters: one that is too long" prints "sent +'too long for us': Argument list too long"
	check "letters: they are still there" prints 'and 2 letters are still there'
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

# --------------------------------------------------------------------------- main ---

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

remove_module() {
	for _ in {1..50}; do
		rmmod sluice 2>/dev/null && return
		sleep 0.1
	done
	return 1
}

insert_module
test_image
test_letters
test_priority
if [ -n "$inserted" ]; then
	try true
	check "the module can be removed" remove_module
fi
echo "1..$count"
[ "$failures" -eq 0 ]
