# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# Library, daemons and tests built with the compiler's sanitizers, in $O/asan and $O/tsan.
# shellcheck disable=SC2154,SC2034 # logs and the counters are scripts/check's

# A daemon that ends is started again, and nobody reads what it said: so reports go to files, and
# one that is there is a failure. SIGBUS is what a process gets whose mapping the module has
# taken away: tests expect it, others die of it anyway.
sanitizer_options() {
	local common="log_path=$1/report:handle_sigbus=0"
	printf '%s\n' \
		"ASAN_OPTIONS=$common:detect_stack_use_after_return=1:strict_string_checks=1" \
		"UBSAN_OPTIONS=$common:print_stacktrace=1" \
		"TSAN_OPTIONS=$common:halt_on_error=1:second_deadlock_stack=1"
}

# sanitized asan|tsan NAME COMMAND...: as tap does, with one more test that nothing was reported.
sanitized() {
	local kind=$1 name=$1-$2 reports=$O/$1/reports/$2 file fixed=()
	local -a options
	shift 2
	rm -rf "$reports"
	mkdir -p "$reports"
	mapfile -t options < <(sanitizer_options "$reports")
	# TSan's shadow has no room for every place where Linux may put a program; UML's are few.
	[[ $kind = asan || $1 = scripts/box ]] || ! setarch -R true 2>/dev/null || fixed=(setarch -R)
	tap "$name" env O="$O/$kind" CMOCKA_MESSAGE_OUTPUT=TAP "${options[@]}" "${fixed[@]}" "$@"
	for file in "$reports"/*; do
		[ -s "$file" ] || continue
		failed=$((failed + 1))
		printf 'not ok - %s: a sanitizer reports; the first of %s:\n' "$name" "$reports"
		head -n 25 "$file" | sed 's/^/  # /'
		break
	done
}

# sanitizer_build asan|tsan MAKE-ARGUMENT...
sanitizer_build() {
	local kind=$1 flags=address,undefined log=$logs/$1-build.log ldflags=
	shift
	case $kind in
	# as shared libraries of gcc's the two do not share log_path
	asan) ldflags="-static-libasan -static-libubsan" ;;
	tsan) flags=thread ;;
	esac
	mkdir -p "$logs" "$O/$kind"
	# what runs in a box looks for the module beside the programs
	ln -sfn "$O/kmod" "$O/$kind/kmod"
	say "building with -fsanitize=$flags"
	make -j"$(nproc)" "$@" O="$O/$kind" SANITIZE=$flags LDFLAGS="$ldflags" >"$log" 2>&1 &&
		return
	failed=$((failed + 1))
	echo "not ok - the build with -fsanitize=$flags; whole output: $log"
	grep -E 'error|Error|warning' "$log" | grep -v -e '-Werror ' | head -n 20
	return 1
}

sanitized_units() {
	local kind=$1 program
	shift
	for program; do
		sanitized "$kind" "$(basename "$program")" "$program"
	done
}

sanitized_inbox() {
	local kind=$1 name=$2
	shift 2
	sanitized "$kind" "$name" scripts/box --kind uml --timeout "${BOX_TIMEOUT:-1800}" \
		--rw "$O" -- "$@"
}

# Whatever needs neither module nor real model.
sanitized_programs() {
	local kind=$1
	# shellcheck disable=SC2046 # names
	sanitized_units "$kind" $(make -s -C tests/unit O="$O/$kind" list)
	sanitized "$kind" history "$O/$kind/tests/history_test"
	sanitized "$kind" storm "$O/$kind/tests/storm/storm" --kills 1000 --seconds 20 \
		${SEED:+--seed "$SEED"}
}

# sanitized_module asan|tsan TINY-MODEL: library, tools and daemons on the module. Threads of the
# kernel's are not seen, and memory that other processes write is all the same.
sanitized_module() {
	local kind=$1 tiny=$2 module
	local -a tests
	module=$(scripts/build-kmod --print uml)
	mapfile -t tests < <(cd tests/selftests && printf '%s\n' lib_*.c | sed 's/\.c$//')
	sanitized_inbox "$kind" selftests tests/selftests/run --timeout 180 --module "$module" \
		"${tests[@]}"
	sanitized_inbox "$kind" storm-uml env MODULE="$module" tests/storm/run --kills 200 --idle 10 \
		${SEED:+--seed "$SEED"}
	sanitized_inbox "$kind" kill-storm python3 tests/e2e/kill_storm.py --kills 20 \
		--model "$tiny" --module "$module" ${SEED:+--seed "$SEED"}
}

suite_sanitize() {
	local python model kind tiny=$O/tests/tiny.gguf
	uml_ready
	need model
	need venv e2e tests/e2e/requirements.txt
	python=$(scripts/setup --print venv-e2e)/bin/python
	model=$(scripts/setup --print model)
	"$python" tests/e2e/make_tiny_model.py "$tiny" || failed=$((failed + 1))
	for kind in asan tsan; do
		sanitizer_build "$kind" tests || continue
		sanitized_programs "$kind"
		sanitized_module "$kind" "$tiny"
	done
	# Where one thread does it all, as in tools and daemons, TSan has nothing more to see.
	sanitized asan tokenizer "$python" tests/e2e/tokenizer_compare.py \
		--tool "$O/asan/tests/tokenize_lines" "$tiny"
	sanitized_inbox asan tools env MODEL=none SANITIZE=address,undefined \
		tests/e2e/sluicectl_test.sh
	"$python" tests/e2e/pipeline_references.py --model "$model" --out "$logs/references.json" \
		>"$logs/references.log" 2>&1 || failed=$((failed + 1))
	sanitized_inbox asan pipeline python3 tests/e2e/pipeline_test.py --model "$model" \
		--references "$logs/references.json" --module "$(scripts/build-kmod --print uml)"
	sanitized_inbox asan kill python3 tests/e2e/kill_test.py --rounds 4 \
		--model "$model" --module "$(scripts/build-kmod --print uml)"
}

# What make check has time for: the library alone, and under TSan only what has threads.
suite_sanitize_short() {
	local unit=tests/unit kind
	local -a programs
	for kind in asan tsan; do
		case $kind in
		asan) mapfile -t programs < <(make -s -C $unit O="$O/asan" list-lib) ;;
		tsan) programs=("$O/tsan/$unit/lib_race" "$O/tsan/$unit/lib_misc") ;;
		esac
		sanitizer_build "$kind" -C lib || continue
		sanitizer_build "$kind" -C $unit "${programs[@]}" || continue
		sanitized_units "$kind" "${programs[@]}"
	done
}
