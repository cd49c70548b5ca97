# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2154 # here, cache, refresh: set by the script that reads this file
# Kernels of the boxes: UML and x86 built from Debian's newest source, stock Debian kernels,
# headers.

# Output lines of a whole build, for the percentage; a guess that is wrong does no harm.
uml_build_lines=1590
debug_build_lines=1650
kcsan_build_lines=1960

kernel_fragments() {
	case $1 in
	uml) echo "$here/kernels/uml.config" ;;
	debug) echo "$here/kernels/uml.config $here/kernels/debug.config" ;;
	kcsan) echo "$here/kernels/kcsan.config" ;;
	esac
}

# Patches that a kernel's build depends on; all of them are applied to the one source.
kernel_patches() {
	printf '%s\n' "$here"/kernels/uml-*.patch
	[ "$1" != debug ] || printf '%s\n' "$here"/kernels/debug-*.patch
}

# kernel_dir KIND: build directory of a kernel of ours, keyed by source, patches, configuration and
# compiler.
kernel_dir() {
	local key
	# shellcheck disable=SC2046
	key=$({
		readlink "$cache/src/current"
		cat $(kernel_fragments "$1") $(kernel_patches "$1")
		gcc -dumpfullversion
		[ "$1" != kcsan ] || declare -f build_kcsan
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

# patch_tree DIR: mistakes of UML that our tests run into. A newer source may not have them.
patch_tree() {
	local file
	for file in "$here"/kernels/*.patch; do
		# there already?
		! patch -d "$1" -p1 -s -f -R --dry-run -i "$file" >/dev/null 2>&1 || continue
		patch -d "$1" -p1 -s -f --dry-run -i "$file" >/dev/null 2>&1 &&
			patch -d "$1" -p1 -s -f -i "$file" ||
			say "$(basename "$file") does not fit this kernel source: left out"
	done
}

unpack_source() {
	set -e
	mkdir "$1/tree"
	dpkg-deb --fsys-tarfile "$1"/*.deb | tar -x -C "$1" --wildcards '*/linux-source-*.tar.xz'
	tar -x -C "$1/tree" --strip-components=1 -f "$1"/usr/src/linux-source-*.tar.xz
}

# assert_config FILE FRAGMENT...: every line of the fragments must have survived, the last one wins.
assert_config() {
	local config=$1 line name got bad=0
	shift
	while read -r line; do
		name=$(sed -E 's/^# (CONFIG_[A-Z0-9_a-z]+) is not set$/\1/; s/=.*//' <<<"$line")
		case $line in
		'#'*) grep -q "^$name=" "$config" || continue ;;
		*) grep -qxF "$line" "$config" && continue ;;
		esac
		got=$(grep -E "^(# )?${name}[ =]" "$config" || echo nothing)
		say "kernel configuration: wanted '$line', got '$got'"
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
	cat "$@" >"$dir/wanted.config"
	if ! grep -q UML_SUBARCH_SUPPORTS_SMP "$src/arch/um/Kconfig"; then
		echo "this source's UML has one processor (since Linux 6.19: several)"
		sed -i -E '/^CONFIG_(SMP|NR_CPUS)=/d' "$dir/wanted.config"
	fi
	make -C "$src" O="$dir" ARCH=um x86_64_defconfig
	cat "$dir/wanted.config" >>"$dir/.config"
	make -C "$src" O="$dir" ARCH=um olddefconfig
	assert_config "$dir/.config" "$dir/wanted.config"
	make -C "$src" O="$dir" ARCH=um -j"$(nproc)" linux modules
}

# The x86 kernel with KCSAN. Only the module is watched, of the core nothing but its barriers: what
# races between two functions of the core is not ours to judge and would spend the samples and most
# of the time; KCSAN's own filter (debugfs) works only after the boot, looks at the innermost
# function alone, and leaves the core as slow. A write by the core, or by user space, to what the
# module reads is still noticed, as a race of unknown origin. The core's barriers have to be seen,
# or every access before an unlock would seem to move behind it; the directories are those whose
# functions a module calls, without the ones that run before KCSAN does (arch, vdso) or in it.
build_kcsan() {
	local dir=$1 src=$2 barriers
	shift 2
	set -e
	cat "$@" >"$dir/wanted.config"
	# All else is off: defaults would bring in a third more, from sound to wireless.
	make -C "$src" O="$dir" KCONFIG_ALLCONFIG="$dir/wanted.config" allnoconfig
	assert_config "$dir/.config" "$dir/wanted.config"
	barriers='kernel kernel/locking kernel/rcu kernel/sched kernel/time io_uring mm lib fs'
	make -C "$src" O="$dir" KCSAN_SANITIZE=n \
		"KCSAN_INSTRUMENT_BARRIERS=\$(if \$(filter $barriers,\$(obj)),y)" \
		-j"$(nproc)" bzImage modules
}

# External modules then build with "make -C DIR M=..." alone, as with any other kernel.
pin_arch() {
	sed -i '1,/^export KBUILD_OUTPUT/ { /^export KBUILD_OUTPUT/i export ARCH := um
	}' "$1/Makefile"
	grep -q '^export ARCH := um' "$1/Makefile" || die "$1/Makefile: no place to set ARCH=um"
}

# setup_built KIND LINES BUILD: a kernel from source, by the function BUILD.
setup_built() {
	local kind=$1 lines=$2 build=$3 dir fragments
	setup_kernel_tree
	dir=$(kernel_dir "$kind")
	[ ! -e "$dir/.complete" ] || return 0
	patch_tree "$(realpath "$cache/src/current")"
	read -ra fragments < <(kernel_fragments "$kind")
	mkdir -p "$dir" "$cache/log"
	# An interrupted build goes on where it was; .complete says that all of it is there.
	with_progress "building the $kind kernel (once)" "$lines" "$cache/log/kernel-$kind.log" \
		"$build" "$dir" "$(realpath "$cache/src/current")" "${fragments[@]}"
	[ "$build" != build_uml ] || pin_arch "$dir"
	touch "$dir/.complete"
}

setup_kernel_uml() {
	setup_built uml "$uml_build_lines" build_uml
}

setup_kernel_debug() {
	setup_built debug "$debug_build_lines" build_uml
}

setup_kernel_kcsan() {
	setup_built kcsan "$kcsan_build_lines" build_kcsan
}

# series_package PREFIX SERIES: the newest package PREFIX-SERIES…-amd64 of the release chosen by
# other_release; when that release has moved on, of whatever series it has now.
series_package() {
	local found
	found=$(newest_package "$1-${2//./\\.}[.0-9]*([-+][0-9a-z]+)?-amd64")
	if [ -z "$found" ]; then
		found=$(newest_package "$1-[0-9]+\\.[.0-9]*([-+][0-9a-z]+)?-amd64")
		[ -n "$found" ] || die "Debian $(suite_of "$2") offers no $1 now; try again later"
		say "Debian $(suite_of "$2") has no kernel $2 any more; taking $found"
	fi
	echo "$found"
}

# Headers for building modules, unpacked and fitted to this machine's compiler.
setup_headers() {
	local series=$1 suite package abi kbuild work dir key
	suite=$(suite_of "$series")
	key=$({
		declare -f fit_headers drop_config fit_tools write_loader
		gcc -dumpfullversion
	} | content_key)
	if [ -z "$refresh" ] && [ -e "$cache/headers/$series/build/Makefile" ]; then
		[[ $(readlink "$cache/headers/$series") != *-"$key" ]] || return 0
	fi
	mkdir -p "$cache/headers" "$cache/log"
	other_release "$suite"
	package=$(series_package linux-headers "$series")
	abi=${package#linux-headers-}
	dir=$cache/headers/$abi-$key
	if [ ! -e "$dir" ]; then
		work=$dir.tmp
		rm -rf "$work"
		kbuild=$(apt-cache "${APT[@]}" show --no-all-versions "$package" |
			sed -n 's/^Depends:.*\(linux-kbuild-[^ ,]*\).*/\1/p')
		fetch_debs "$work/debs" "$package" "${package%-amd64}-common" "$kbuild"
		unpack_debs "$work/debs" "$work"
		# The tree names itself by absolute paths, so both take the final place's name.
		fit_tools "$work" "$dir"
		fit_headers "$work" "$dir" "$abi"
		mv -T "$work" "$dir"
	fi
	point "$cache/headers/$series" "$dir"
}

# unpack_debs FROM TO: unpacks all packages in FROM and removes them.
unpack_debs() {
	local deb
	for deb in "$1"/*.deb; do
		dpkg-deb -x "$deb" "$2"
	done
	rm -rf "$1"
}

# A stock Debian kernel and its modules, unpacked: for the tcg and kvm boxes.
setup_image() {
	local series=$1 suite image abi work packages
	suite=$(suite_of "$series")
	[ ! -e "$cache/images/$series/vmlinuz" ] || [ -n "$refresh" ] || return 0
	mkdir -p "$cache/images" "$cache/log"
	other_release "$suite"
	image=$(series_package linux-image "$series")
	abi=${image#linux-image-}
	if [ ! -e "$cache/images/$abi" ]; then
		work=$cache/images/$abi.tmp
		rm -rf "$work"
		# Newer ones are split; then the image is only a name for these.
		mapfile -t packages < <(apt-cache "${APT[@]}" pkgnames |
			grep -xE "linux-(base|binary|modules)-${abi//+/\\+}")
		[ ${#packages[@]} -gt 0 ] || packages=("$image")
		fetch_debs "$work/debs" "${packages[@]}"
		unpack_debs "$work/debs" "$work"
		if [ -d "$work/lib" ]; then
			mkdir -p "$work/usr/lib"
			mv "$work"/lib/* "$work/usr/lib/"
			rmdir "$work/lib"
		fi
		ln -s usr/lib "$work/lib"
		depmod -b "$work" "$abi" || die "depmod failed; run: scripts/setup packages"
		ln -s "$(cd "$work" && find . -name 'vmlinuz*' -type f)" "$work/vmlinuz"
		ln -s "usr/lib/modules/$abi" "$work/modules"
		mv -T "$work" "$cache/images/$abi"
	fi
	point "$cache/images/$series" "$abi"
}

# fit_tools TREE FINAL: build tools that need a newer C library than this machine's get their own
# release's, from the cache. A wrapper that only chooses among programs for several processors
# is replaced by the program for this one.
fit_tools() {
	local tool real tools
	# The whole list first: find must not walk directories that change under it.
	mapfile -t tools < <(cd "$1" && find "$PWD"/usr/lib/linux-kbuild-* -type f -perm -1 \
		! -name '*.real-*' -exec sh -c 'head -c 4 "$1" | grep -q ELF' sh {} \; -print)
	for tool in "${tools[@]}"; do
		for real in "$tool.real-x86" "$tool.real-lsb-64" "$tool"; do
			[ ! -x "$real" ] || break
		done
		[[ $(ldd "$real" 2>&1) == *'not found'* ]] || continue
		[ -d "$1/libc" ] || unpack_libc "$1/libc"
		if [ "$real" = "$tool" ]; then
			real=$tool.elf
			mv "$tool" "$real"
		fi
		write_loader "$tool" "$2/libc" "$2/${real#"$1/"}"
	done
}

unpack_libc() {
	fetch_debs "$1/debs" libc6
	unpack_debs "$1/debs" "$1"
}

# write_loader FILE LIBC REAL: FILE becomes a script that runs REAL with the C library in LIBC.
write_loader() {
	local libs=$2/usr/lib/x86_64-linux-gnu
	# shellcheck disable=SC2016 # for the script that is written
	printf '#!/bin/sh\nexec %s/ld-linux-x86-64.so.2 --library-path %s --argv0 "$0" %s "$@"\n' \
		"$libs" "$libs" "$3" >"$1.new"
	chmod +x "$1.new"
	mv "$1.new" "$1"
}

# fit_headers TREE FINAL ABI: lets TREE, which will be FINAL, build with this machine's compiler,
# which may be older than the kernel's.
fit_headers() {
	local src=$1/usr/src/linux-headers-$3 common major
	common=$1/usr/src/linux-headers-${3%-amd64}-common
	major=$(gcc -dumpversion | cut -d. -f1)
	ln -sfn "usr/src/linux-headers-$3" "$1/build"
	sed -i "s#\([= ]\)/usr/src/#\1$2/usr/src/#" "$src/Makefile"
	[ ! -e "$src/.kernelvariables" ] || sed -i -E 's/gcc-[0-9]+/gcc/' "$src/.kernelvariables"
	# Warnings that this is another compiler, and another pahole: it is, on purpose.
	sed -i -E 's/\[ "\$\((CC|PAHOLE)_VERSION(_TEXT)?\)" != [^]]*\]/false/' "$common/Makefile"
	# Type information of the module needs vmlinux and pahole. For make only: in autoconf.h it
	# decides the size of struct module.
	sed -i '/^CONFIG_DEBUG_INFO_BTF_MODULES=/d' "$src/include/config/auto.conf"
	# Options that this compiler is too old for.
	[ "$major" -ge 14 ] || drop_config "$src" CC_HAS_MIN_FUNCTION_ALIGNMENT
	[ "$major" -ge 13 ] || drop_config "$src" CC_HAS_ASSUME
	[ "$major" -ge 15 ] || drop_config "$src" CC_HAS_COUNTED_BY
	[ "$major" -ge 15 ] || drop_config "$src" CC_HAS_MULTIDIMENSIONAL_NONSTRING
	[ "$major" -ge 16 ] || drop_config "$src" CC_HAS_COUNTED_BY_PTR
}

drop_config() {
	local src=$1 name
	shift
	for name; do
		sed -i "/^CONFIG_$name=/d" "$src/.config" "$src/include/config/auto.conf"
		sed -i "/^#define CONFIG_$name /d" "$src/include/generated/autoconf.h"
	done
}
