#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Description: `make install` into an empty directory gives a library that a stranger can build against.
set -uo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd -P)
O=${O:-$top/build}
work=$O/install-test
n=0 rc=0

# result WHAT: by the status of the command before it
result() {
	local status=$?
	n=$((n + 1))
	if [ $status -eq 0 ]; then
		echo "ok $n - $1"
	else
		echo "not ok $n - $1"
		tail -n 10 "$work/log" | sed 's/^/# /'
		rc=1
	fi
}

rm -rf "$work" && mkdir -p "$work/src"
cat >"$work/src/program.c" <<'END'
#include <stdio.h>
#include <sluice/sluice.h>
#include <sluice/admission.h>
#include <sluice/credit.h>
#include <sluice/lanes.h>
#include <sluice/peek.h>
#include <sluice/tensor.h>
#include <sluice/call.h>
#include <sluice/order.h>
#include <sluice/batch.h>

int main(void)
{
	struct sluice_features f;
	struct sluice_ctx *ctx;
	struct sluice_tensor type;
	struct sluice_caller *caller;
	struct sluice_order *order;

	if (sluice_type_parse("tokens:i32[?]", &type))
		return 3;
	if (sluice_order_create(&(struct sluice_order_options){ .streams = 4, .window = 8 }, &order))
		return 4;
	sluice_order_free(order);
	sluice_batch_free(NULL);
	if (sluice_ctx_create(0, &ctx))
		return 1;
	/* No module here: the error has to say what to do. */
	if (!sluice_features(&f) || !*sluice_error())
		return 2;
	if (!sluice_caller_create(ctx, NULL, &caller))
		return 4;
	puts(sluice_error());
	sluice_ctx_destroy(ctx);
	return 0;
}
END

echo 1..7
make -C "$top" O="$O" install PREFIX=/usr DESTDIR="$work/root" >"$work/log" 2>&1
result "make install PREFIX=/usr DESTDIR=…"
lib=$(dirname "$(find "$work/root" -name libsluice.a)")
[ -f "$lib/libsluice.a" ] && [ -e "$lib/libsluice.so" ] &&
	[ -f "$work/root/usr/include/sluice/sluice.h" ] && [ -f "$work/root/usr/include/sluice/uapi.h" ]
result "libraries and headers are there"
programs_answer() {
	local tool
	for tool in sluicectl sluice-perf sluice-embedding sluice-encoder sluice-decoder sluice-output; do
		"$work/root/usr/bin/$tool" --help >"$work/log" 2>&1 || return
		grep -qi usage "$work/log" || return
	done
}
programs_answer
result "every program runs and answers --help"
export PKG_CONFIG_PATH=$lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$work/root
# shellcheck disable=SC2046
cc -Wall -Werror -o "$work/shared" "$work/src/program.c" $(pkg-config --cflags --libs sluice) >"$work/log" 2>&1
result "a program links with the shared library by pkg-config"
LD_LIBRARY_PATH=$lib "$work/shared" >"$work/log" 2>&1 && grep -q 'sluice' "$work/log"
result "and runs, with an error that names the module"
# shellcheck disable=SC2046
cc -Wall -Werror -o "$work/static" "$work/src/program.c" $(pkg-config --cflags sluice) "$lib/libsluice.a" \
	$(pkg-config --static --libs-only-l sluice | sed 's/-lsluice//') >"$work/log" 2>&1 && "$work/static" >>"$work/log" 2>&1
result "the same with the static library"
nm -D --defined-only "$lib/libsluice.so" | awk '{ print $3 }' | grep -v '^sluice_\|^SLUICE_' >"$work/log"
[ ! -s "$work/log" ]
result "the shared library exports nothing but sluice_*"
exit $rc
