# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2154 # tree: set by the script that reads this file
# A Python queue over shared memory as vLLM has between its processes; nothing but Debian's Python.

build_shm_queue() {
	mkdir -p "$1"
	if ! python3 -c 'from multiprocessing import resource_tracker, shared_memory' 2>/dev/null; then
		say "shm_queue needs Python 3.8 or newer"
		return 1
	fi
	install -m 755 "$tree/userspace/perf/peers/shm_queue.py" "$1/shm_queue.py"
}

list_shm_queue() {
	local python version what
	python=$(python3 -c 'import sys; print(sys.executable)')
	version=$(python3 -c 'import platform; print(platform.python_version())')
	what="Python $version queue over shared memory in vLLM's manner: flags polled with"
	what+=" sched_yield, messages pickled"
	printf '%s\t%s\t%s\t%s\t%s\n' shm-queue spin round,flow,payload "$what" \
		"$python $1/shm_queue.py"
}
