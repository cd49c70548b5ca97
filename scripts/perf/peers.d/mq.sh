# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# POSIX message queues

build_mq() {
	build_c mq "$1"
}

list_mq() {
	line mq spin,sleep round,flow,payload \
		"POSIX message queues, one each way, of slots messages (fs.mqueue.msg_max without CAP_SYS_RESOURCE, and then no large payload); spin asks with O_NONBLOCK" \
		"$1/mq"
}
