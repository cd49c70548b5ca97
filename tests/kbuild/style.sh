#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Description: checkpatch and sparse on the module, shellcheck on the scripts, size of functions.
set -uo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd -P)
cd "$top" || exit 1
src=$(scripts/setup --print kernel-src)
kdir=$(scripts/setup --print kdir-uml 2>/dev/null) || kdir=
n=0 rc=0

result() {
	n=$((n + 1))
	if [ -z "$2" ]; then
		echo "ok $n - $1"
	else
		echo "not ok $n - $1"
		sed 's/^/# /' <<<"$2" | head -n 40
		rc=1
	fi
}

# What checkpatch asks for and this module, which builds on several kernels, cannot follow:
ignored=(
	LINUX_VERSION_CODE CONSTANT_COMPARISON	# compat.h
	ALLOC_WITH_SIZEOF			# kzalloc_obj() is newer than 6.12
	BIT_MACRO PREFER_DEFINED_ATTRIBUTE_MACRO # the ABI header is for user space too
	MACRO_ARG_REUSE MACRO_ARG_PRECEDENCE	# SL_URING_CALLBACK declares with its arguments
)

# Tracepoint macros are not the style's business.
checkpatch() {
	perl "$src/scripts/checkpatch.pl" --no-tree --strict --terse --no-summary --max-line-length=100 \
		--ignore "$(IFS=,; echo "${ignored[*]}")" \
		--file "$@" 2>&1
}

sparse_module() {
	local work=${O:-$top/build}/sparse
	rm -rf "$work" && mkdir -p "$work" && cp -r kmod/. "$work/"
	make -C "$kdir" M="$work" C=2 CF="-Wno-context" modules 2>&1 | grep -E "^[a-z/._-]*kmod|^[a-z_]+\.[ch]:|$work" | grep -E 'warning|error'
}

long_functions() {
	git ls-files '*.c' '*.h' | xargs awk 'FNR == 1 { start = 0 } /^[{]/ { start = FNR }
		/^[}]/ { if (start && FNR - start > 70) printf "%s:%d %d lines\n", FILENAME, start, FNR - start; start = 0 }'
}

scripts=$(git ls-files | while read -r f; do head -n 1 "$f" | grep -qE '^#!.*(bash|/sh)' && echo "$f"; done)
echo 1..4
result "checkpatch: kmod" "$(checkpatch kmod/*.[ch] kmod/uapi/*.h | grep -v 'kmod/trace.h')"
if [ -n "$kdir" ]; then
	result "sparse: kmod" "$(sparse_module)"
else
	n=$((n + 1))
	echo "ok $n - sparse: kmod # SKIP the box kernel is not built"
fi
# shellcheck disable=SC2086
result "shellcheck" "$(shellcheck -x -S warning $scripts 2>&1)"
result "no function is longer than 70 lines" "$(long_functions)"
exit $rc
