# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# What the scripts that measure share: building, and running in a box with the module in it.

tree=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
cache=${SLUICE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sluice}
# shellcheck source=scripts/setup.d/common.sh
. "$tree/scripts/setup.d/common.sh"

build=${O:-$tree/build}
out=$build/perf
box=auto
kernel=

# usage_error MESSAGE: the command line is wrong.
usage_error() {
	say "$*; see scripts/$tool --help"
	exit 2
}

# The kernel that the module is built for: that of the box.
module_series() {
	case $box in
	tcg | kvm) echo "${kernel:-6.1}" ;;
	host) echo host ;;
	*) [ "$kernel" = debug ] && echo debug || echo uml ;;
	esac
}

# setup_box: kernel and packages that measuring in the chosen box needs.
setup_box() {
	if [ "$box" = auto ]; then
		"$tree/scripts/setup" packages kernel-uml
		box=$("$tree/scripts/box" --show | sed -n 's/^SLUICE_BOX=//p')
	fi
	case $box in
	tcg | kvm) "$tree/scripts/setup" packages perf tcg "kernel-tcg-${kernel:-6.1}" \
		"headers-${kernel:-6.1}" ;;
	host) "$tree/scripts/setup" packages perf ;;
	*) "$tree/scripts/setup" packages perf kernel-uml ;;
	esac
}

# build_all: module, library and the measuring programs; their output only if it fails.
build_all() {
	local log=$build/perf/build.log
	mkdir -p "$out"
	say "building (log: $log)"
	if ! {
		"$tree/scripts/build-kmod" "$(module_series)" &&
			make -C "$tree" O="$build" userspace
	} >"$log" 2>&1; then
		tail -n 25 "$log" >&2
		die "building failed; the whole output is in $log"
	fi
}

# warn_busy: other work on the machine makes every figure worse, and ratios less certain.
warn_busy() {
	local load rest
	read -r load rest </proc/loadavg
	if awk -v load="$load" 'BEGIN { exit !(load >= 1) }'; then
		say "this machine is busy (load average $load): ratios will scatter"
	fi
}

# Sets --pin in box_options: where the host puts a box's processors and processes is chance, and
# doubles what a system call costs. For programs that start each process where it shall run.
box_options=()
pin_box() {
	box_options+=(--pin)
}

# in_box COMMAND...: runs COMMAND where the module is loaded.
in_box() {
	local module words=(--kind "$box" "${box_options[@]}")
	module=$build/kmod/$(module_series)/sluice.ko
	[ -z "$kernel" ] || words+=(--kernel "$kernel")
	# shellcheck disable=SC2016
	"$tree/scripts/box" "${words[@]}" -- sh -c '
		insmod "$1" || { echo "cannot load $1; see dmesg" >&2; exit 1; }
		shift
		"$@"
		status=$?
		# io_uring lets go of the devices of ended processes a little later.
		for i in 1 2 3 4 5 6 7 8 9 10; do
			rmmod sluice 2>/dev/null && exit $status
			sleep 0.5
		done
		rmmod sluice
		exit 1' sh "$module" "$@"
}
