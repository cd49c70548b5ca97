# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# Suites that look at the code: it builds everywhere, it has no warning anywhere.

# The module against each kernel's headers; a warning is an error in scripts/build-kmod.
suite_build() {
	local kernel
	for kernel in 6.1 6.12 7.2; do
		need headers "$kernel"
		tap "build-$kernel" tests/kbuild/module.sh "$kernel"
		tap "fences-$kernel" tests/kbuild/fences "$(scripts/build-kmod --print "$kernel")"
	done
	need kernel-uml
	tap build-in-tree tests/kbuild/in_tree.sh
}

suite_style() {
	need kernel-tree kernel-uml
	tap style tests/kbuild/style.sh
}

suite_syzkaller() {
	tap syzkaller tests/syzkaller/check
}
