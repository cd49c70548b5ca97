#!/bin/bash
# SPDX-License-Identifier: MIT
# Description: the programs of userspace/examples do what they say, against the real module.
#
# One function for each example. TAP on stdout; runs as root in a box, and inserts the module if it
# is not there.

set -u
tree=$(cd "$(dirname "$0")/../.." && pwd)
O=${O:-$tree/build}
PATH=$O/bin:$PATH
work=$(mktemp -d)
count=0 failures=0 inserted=
trap 'rm -rf "$work"' EXIT

# run NAME [ARGUMENT...]: sets status; the output is in $work/out.
run() {
	local name=$1
	shift
	"$O/examples/$name" "$@" >"$work/out" 2>&1 </dev/null
	status=$?
}

# says DESCRIPTION REGEX...: it ended with 0, and its output matches each of them.
says() {
	local description=$1 good=ok pattern
	shift
	[ "$status" -eq 0 ] || good='not ok'
	for pattern in "$@"; do
		grep -qE "$pattern" "$work/out" || good='not ok'
	done
	count=$((count + 1))
	echo "$good $count - $description"
	[ "$good" = ok ] && return
	failures=$((failures + 1))
	echo "# status $status"
	sed 's/^/# /' "$work/out"
}

test_letters() {
	run letters
	says "letters: why messages died, and the letters stay" \
		"dead +'not for us': stream 7, counter 2, attempt 1, Protocol wrong type" \
		"sent +'too long for us': Argument list too long" '^and 2 letters are still there'
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

insert_module
test_letters
if [ -n "$inserted" ]; then
	sleep 1
	rmmod sluice || failures=$((failures + 1))
fi
echo "1..$count"
[ "$failures" -eq 0 ]
