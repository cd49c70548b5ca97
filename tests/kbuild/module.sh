#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Description: the module builds without a warning against the headers of a kernel series.
set -uo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd -P)
kernel=${1:?usage: module.sh 6.1|6.12|7.2}

echo 1..1
if out=$("$top/scripts/build-kmod" "$kernel" 2>&1) && ! grep -q 'warning:' <<<"$out" &&
	[ -s "$(tail -n 1 <<<"$out")" ]; then
	echo "ok 1 - sluice.ko for $kernel without a warning"
else
	echo "not ok 1 - sluice.ko for $kernel"
	sed 's/^/# /' <<<"$out"
	exit 1
fi
