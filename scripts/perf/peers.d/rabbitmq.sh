# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2154 # tree: set by the script that reads this file
# RabbitMQ, Debian's broker, started by the pong side

# rabbitmq_packages: what is missing. The package would start its service: without a runlevel,
# Debian's invoke-rc.d starts nothing, and without systemd's directory neither does its helper.
build_rabbitmq() {
	build_c rabbitmq "$1"
}

list_rabbitmq() {
	line rabbitmq sleep round,flow,payload \
		"RabbitMQ $(version_of rabbitmq-server)" "$1/rabbitmq"
}
