# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2154 # tree: set by the script that reads this file
# Aeron's Java client and media driver, which are its reference implementation, over aeron:ipc.

# shellcheck source=scripts/perf/java.sh
. "$tree/scripts/perf/java.sh"

build_aeron() {
	local home
	java_build aeron "$1/aeron" || return 1
	make -s -C "$tree" O="$build" lib || return 1
	home=$(dirname "$(dirname "$(readlink -f "$(command -v javac)")")")
	cc -O2 -shared -fPIC -I"$home/include" -I"$home/include/linux" -I"$tree/lib/include" \
		-I"$build/include" "$tree/userspace/perf/peers/aeron/ticks.c" -o "$1/aeron/libticks.so" \
		"$build/lib/libsluice.a" -luring
}

list_aeron() {
	local out=$1/aeron java what driver
	# Who spins for a message would do so for ever if the coordinator were killed.
	java="/usr/bin/setpriv --pdeathsig KILL -- $(command -v java)"
	java+=" @$out/java.args -Djava.library.path=$out"
	what="Aeron 1.51.0 (Java), aeron:ipc, exclusive publications, tryClaim up to 64 KiB"
	driver="media driver SHARED with backoff"
	printf '%s\t%s\t%s\t%s\t%s\n' aeron spin round,flow,payload \
		"$what, $driver, inside ping" "$java AeronPeer"
	printf '%s\t%s\t%s\t%s\t%s\n' aeron-driver spin round,flow,payload \
		"$what, $driver, in a process of its own" "$java AeronPeer --driver separate"
}
