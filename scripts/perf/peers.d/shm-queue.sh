# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2154 # tree, build: set by the script that reads this file
# A Python queue over shared memory, in the manner of vLLM's. Debian's Python, whatever is on PATH.

build_shm_queue() {
	make -s -C "$tree" O="$build" lib || return 1
	/usr/bin/python3 -c 'import multiprocessing.shared_memory' || return 1
	mkdir -p "$1"
	cp "$tree/userspace/perf/peers/shm_queue.py" "$1/"
}

list_shm_queue() {
	line shm-queue spin,sleep round,flow,payload \
		"Python $(version_of python3) queue over shared memory in vLLM's manner: a ring of slots chunks (64 MiB at most) with a flag for written and for read, pickled bytes; spin asks and yields, sleep yields once, then sleeps 10 us, twice as long each time up to 100 ms" \
		/usr/bin/python3 "$1/shm_queue.py" "$build/lib/libsluice.so"
}
