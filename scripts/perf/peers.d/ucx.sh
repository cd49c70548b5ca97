# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# UCX, what MPI libraries send with

build_ucx() {
	build_c ucx "$1"
}

list_ucx() {
	line ucx spin,sleep round,flow,payload \
		"UCX $(version_of libucx0): tagged messages, UCX_TLS=shm (it chooses sysv, and cma for large ones), receives posted ahead; spin is ucp_worker_progress, sleep ucp_worker_arm and poll" \
		"$1/ucx"
}
