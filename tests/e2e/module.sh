# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# What tests that need the module share: the box, TAP, the module. Sourced, with $0 the test.

# shellcheck source=tests/e2e/tap.sh
. "$(dirname "$0")/tap.sh"

if [ ! -e /dev/sluice/control ] && [ -z "${SLUICE_BOX:-}" ]; then
	make -s -C "$tree" O="$O" userspace >&2 && "$tree/scripts/build-kmod" uml >&2 || exit 1
	rm -rf "$work"
	exec "$tree/scripts/box" --kind uml -- "$0" "$@"
fi

inserted=

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
