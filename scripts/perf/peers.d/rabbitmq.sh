# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2154 # tree: set by the script that reads this file
# RabbitMQ with Debian's broker, which the peer starts by itself

rabbitmq_policy=/usr/sbin/policy-rc.d

rabbitmq_installed() {
	dpkg-query -W -f '${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed
}

# rabbitmq_packages: they would start services, Erlang's name server too, now and at every boot.
# Who has them already keeps them as they are.
rabbitmq_packages() (
	erlang=
	if rabbitmq_installed rabbitmq-server; then
		peer_packages rabbitmq
		exit
	fi
	! rabbitmq_installed erlang-base || erlang=1
	if [ "$(id -u)" = 0 ] && [ ! -e "$rabbitmq_policy" ]; then
		trap 'rm -f "$rabbitmq_policy"' EXIT
		# 101: not allowed
		printf '#!/bin/sh\nexit 101\n' >"$rabbitmq_policy"
		chmod 755 "$rabbitmq_policy"
	fi
	peer_packages rabbitmq || exit 1
	update-rc.d rabbitmq-server disable
	[ -n "$erlang" ] || ! command -v systemctl >/dev/null ||
		systemctl disable epmd.socket epmd.service
)

build_rabbitmq() {
	rabbitmq_packages || return 1
	build_c rabbitmq "$1"
}

list_rabbitmq() {
	line rabbitmq sleep round,flow,payload \
		"RabbitMQ $(version_of rabbitmq-server), librabbitmq $(version_of librabbitmq4): classic queues, not durable, over TCP on 127.0.0.1, publisher confirms with slots messages unconfirmed, each message acknowledged by hand, prefetch = slots; the broker shares pong's processor" \
		"$1/rabbitmq"
}
