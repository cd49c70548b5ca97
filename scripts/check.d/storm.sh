# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# Suites that kill: processes of a pipeline, all the time, and a history that shows what became of
# every message.

# On the module: storm_on KERNEL OPTION...
# shellcheck disable=SC2154 # logs is scripts/check's
storm_on() {
	local kernel=$1
	shift
	tap "storm-$kernel" tests/storm/run --kernel "$kernel" --timeout "${BOX_TIMEOUT:-900}" \
		--keep "$logs/storm-$kernel.history" "$@"
}

# The same where everybody gets everything.
broadcast_on() {
	local kernel=$1
	shift
	tap "storm-broadcast-$kernel" tests/storm/run --kernel "$kernel" \
		--timeout "${BOX_TIMEOUT:-900}" --keep "$logs/storm-broadcast-$kernel.history" \
		--broadcast "$@"
}

# Two classes of priority, and policies that change all the time.
classes_on() {
	local kernel=$1
	shift
	tap "storm-classes-$kernel" tests/storm/run --kernel "$kernel" \
		--timeout "${BOX_TIMEOUT:-900}" --keep "$logs/storm-classes-$kernel.history" \
		--classes --policies --producers 4 "$@"
}

# Requests and replies.
calls_on() {
	local kernel=$1
	shift
	tap "storm-calls-$kernel" tests/storm/run --kernel "$kernel" \
		--timeout "${BOX_TIMEOUT:-900}" --keep "$logs/storm-calls-$kernel.history" \
		--calls "$@"
}

# What make check has time for.
suite_storm_short() {
	uml_ready
	tap history env CMOCKA_MESSAGE_OUTPUT=TAP "$O/tests/history_test"
	tap storm-user "$O/tests/storm/storm" --kills 10000 --seconds 20 \
		--keep "$logs/storm-user.history"
	tap storm-broadcast-user "$O/tests/storm/storm" --broadcast --kills 10000 --seconds 10 \
		--round 100 --keep "$logs/storm-broadcast-user.history"
	storm_on uml --kills 100 --idle 20
	broadcast_on uml --kills 100
	classes_on uml --kills 100
	calls_on uml --kills 100
}

suite_storm() {
	uml_ready
	need model
	tap history env CMOCKA_MESSAGE_OUTPUT=TAP "$O/tests/history_test"
	tap storm-user "$O/tests/storm/storm" --kills 10000 --keep "$logs/storm-user.history"
	tap storm-broadcast-user "$O/tests/storm/storm" --broadcast --kills 5000 \
		--keep "$logs/storm-broadcast-user.history"
	storm_on uml --kills 1000 --idle 50
	broadcast_on uml --kills 1000
	classes_on uml --kills 1000 --idle 50
	calls_on uml --kills 1000 --policies
	tap storm-classes-order tests/storm/run --kills 500 --classes --producers 4
	tap storm-no-uring tests/storm/run --kills 300 --idle 20 --no-uring
	tap storm-pipeline tests/e2e/kill_storm.sh --kills 40
}

# With a tiny random model: a real one is too slow on a processor in software.
suite_storm_kernels() {
	local kernel tiny=$O/tests/tiny.gguf
	need packages tcg
	need venv e2e tests/e2e/requirements.txt
	build tests
	"$(scripts/setup --print venv-e2e)/bin/python" tests/e2e/make_tiny_model.py "$tiny" ||
		failed=$((failed + 1))
	for kernel in 6.1 6.12 7.2; do
		need kernel-tcg "$kernel" headers "$kernel"
		BOX_TIMEOUT=3600 storm_on "$kernel" --kills 1000 --idle 50
		BOX_TIMEOUT=3600 broadcast_on "$kernel" --kills 500
		BOX_TIMEOUT=3600 classes_on "$kernel" --kills 500
		BOX_TIMEOUT=3600 calls_on "$kernel" --kills 500
		tap "storm-pipeline-$kernel" env BOX_KERNEL="$kernel" MODEL="$tiny" \
			tests/e2e/kill_storm.sh --kills 30
	done
}
