#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Description: copied to drivers/misc/sluice of a kernel tree, the module builds with =m and with =y.
#
# The tree is the box kernel's own, seen through symbolic links, so that nothing is written to it.
set -uo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd -P)
src=$("$top/scripts/setup" --print kernel-src)
kdir=$("$top/scripts/setup" --print kdir-uml)
work=${O:-$top/build}/in-tree
n=0 rc=0

result() {
	n=$((n + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $n - $2"
	else
		echo "not ok $n - $2"
		tail -n 15 "$work/log" | sed 's/^/# /'
		rc=1
	fi
}

# A source tree of links, with real directories only where something is added.
link_tree() {
	rm -rf "$work"
	mkdir -p "$work/src" "$work/obj"
	ln -s "$src"/* "$work/src/"
	rm "$work/src/drivers"
	mkdir "$work/src/drivers"
	ln -s "$src"/drivers/* "$work/src/drivers/"
	rm "$work/src/drivers/misc"
	mkdir "$work/src/drivers/misc"
	ln -s "$src"/drivers/misc/* "$work/src/drivers/misc/"
	rm "$work/src/drivers/misc/Kconfig" "$work/src/drivers/misc/Makefile"
	cp "$src"/drivers/misc/{Kconfig,Makefile} "$work/src/drivers/misc/"
	cp -r "$top/kmod" "$work/src/drivers/misc/sluice"
	cp "$top/Kconfig" "$work/src/drivers/misc/sluice/"
	sed -i 's|^endmenu|source "drivers/misc/sluice/Kconfig"\nendmenu|' \
		"$work/src/drivers/misc/Kconfig"
	echo "obj-\$(CONFIG_SLUICE) += sluice/" >>"$work/src/drivers/misc/Makefile"
	cp "$kdir/.config" "$work/obj/"
}

kmake() {
	make -C "$work/src" O="$work/obj" ARCH=um KCFLAGS=-Werror -j"$(nproc)" "$@"
}

echo 1..2
link_tree
for as in m y; do
	(
		cd "$work/obj" && sed -i '/CONFIG_SLUICE/d' .config && echo "CONFIG_SLUICE=$as" >>.config &&
			kmake olddefconfig && grep -qx "CONFIG_SLUICE=$as" .config && kmake prepare &&
			kmake drivers/misc/sluice/ &&
			nm drivers/misc/sluice/main.o | grep sluice_init
	) >"$work/log" 2>&1
	result $? "CONFIG_SLUICE=$as"
done
exit $rc
