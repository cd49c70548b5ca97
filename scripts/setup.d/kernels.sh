# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# Kernels of the boxes: UML built from Debian's newest source, stock Debian kernels, headers.

# Output lines of a whole build, for the percentage; a guess that is wrong does no harm.
uml_build_lines=1750
debug_build_lines=1900

kernel_fragments() {
	case $1 in
	uml) echo "$here/kernels/uml.config" ;;
	debug) echo "$here/kernels/uml.config $here/kernels/debug.config" ;;
	esac
}

# kernel_dir KIND: build directory of a UML kernel, keyed by source, configuration and compiler.
kernel_dir() {
	local key
	# shellcheck disable=SC2046
	key=$({
		readlink "$cache/src/current"
		cat $(kernel_fragments "$1")
		gcc -dumpfullversion
	} 2>/dev/null | content_key)
	echo "$cache/kernels/$1-$key"
}

# Unpacks the newest linux-source of sid; --refresh looks for a newer one.
setup_kernel_tree() {
	local package version work
	[ ! -e "$cache/src/current/Makefile" ] || [ -n "$refresh" ] || return 0
	mkdir -p "$cache/src" "$cache/log"
	other_release sid
	package=$(newest_package 'linux-source-[0-9]+\.[0-9]+')
	[ -n "$package" ] || die "Debian sid offers no linux-source package now; try again later"
	version=$(package_version "$package")
	if [ ! -e "$cache/src/linux-$version/Makefile" ]; then
		work=$cache/src/tmp
		rm -rf "$work"
		fetch_debs "$work" "$package"
		with_progress "unpacking $package $version" 0 "$cache/log/unpack.log" \
			unpack_source "$work"
		mv -T "$work/tree" "$cache/src/linux-$version"
		rm -rf "$work"
	fi
	point "$cache/src/current" "linux-$version"
}

unpack_source() {
	set -e
	mkdir "$1/tree"
	dpkg-deb --fsys-tarfile "$1"/*.deb | tar -x -C "$1" --wildcards '*/linux-source-*.tar.xz'
	tar -x -C "$1/tree" --strip-components=1 -f "$1"/usr/src/linux-source-*.tar.xz
}

# assert_config FILE FRAGMENT...: every line of the fragments must have survived, the last one wins.
assert_config() {
	local config=$1 line name bad=0
	shift
	while read -r line; do
		name=$(sed -E 's/^# (CONFIG_[A-Z0-9_a-z]+) is not set$/\1/; s/=.*//' <<<"$line")
		case $line in
		'#'*) grep -q "^$name=" "$config" || continue ;;
		*) grep -qxF "$line" "$config" && continue ;;
		esac
		say "kernel configuration: wanted '$line', got '$(grep -E "^(# )?$name[ =]" "$config" || echo nothing)'"
		bad=1
	done < <(cat "$@" | merged_lines)
	[ $bad = 0 ] || die "the kernel's configuration is not what scripts/kernels asks for"
}

# Configuration lines of standard input, for each name the last one.
merged_lines() {
	grep -E '^(CONFIG_[A-Za-z0-9_]+=|# CONFIG_[A-Za-z0-9_]+ is not set$)' | tac |
		awk '{ name = $1 == "#" ? $2 : $1; sub(/=.*/, "", name); if (!seen[name]++) print }'
}

build_uml() {
	local dir=$1 src=$2
	shift 2
	set -e
	make -C "$src" O="$dir" ARCH=um x86_64_defconfig
	cat "$@" >>"$dir/.config"
	make -C "$src" O="$dir" ARCH=um olddefconfig
	assert_config "$dir/.config" "$@"
	make -C "$src" O="$dir" ARCH=um -j"$(nproc)" linux modules
}

# External modules then build with "make -C DIR M=..." alone, as with any other kernel.
pin_arch() {
	sed -i '1,/^export KBUILD_OUTPUT/ { /^export KBUILD_OUTPUT/i export ARCH := um
	}' "$1/Makefile"
	grep -q '^export ARCH := um' "$1/Makefile" || die "$1/Makefile: no place to set ARCH=um"
}

setup_uml() {
	local kind=$1 lines=$2 dir fragments
	setup_kernel_tree
	dir=$(kernel_dir "$kind")
	[ ! -e "$dir/.complete" ] || return 0
	read -ra fragments < <(kernel_fragments "$kind")
	mkdir -p "$dir" "$cache/log"
	# An interrupted build goes on where it was; .complete says that all of it is there.
	with_progress "building the $kind kernel (once)" "$lines" "$cache/log/kernel-$kind.log" \
		build_uml "$dir" "$(realpath "$cache/src/current")" "${fragments[@]}"
	pin_arch "$dir"
	touch "$dir/.complete"
}

setup_kernel_uml() {
	setup_uml uml "$uml_build_lines"
}

setup_kernel_debug() {
	setup_uml debug "$debug_build_lines"
}
