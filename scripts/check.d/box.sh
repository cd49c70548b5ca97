# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# Suites that run in a box: the module in a kernel of its own.

uml_ready() {
	need kernel-uml
	scripts/build-kmod uml >/dev/null || failed=$((failed + 1))
	build tests
}

suite_selftests() {
	uml_ready
	tap selftests inbox --kind uml -- tests/selftests/run
}

suite_tools() {
	uml_ready
	tap tools inbox --kind uml -- tests/e2e/sluicectl_test.sh
	tap examples inbox --kind uml -- tests/e2e/examples_test.sh
	tap tools-model tests/e2e/sluicectl_model_test.sh
}

suite_pipeline() {
	local python model
	uml_ready
	need model
	need venv e2e tests/e2e/requirements.txt
	python=$(scripts/setup --print venv-e2e)/bin/python
	model=$(scripts/setup --print model)
	say "reference answers (cached by content)"
	if ! "$python" tests/e2e/pipeline_references.py --model "$model" \
		--out "$logs/references.json" >"$logs/references.log" 2>&1; then
		failed=$((failed + 1))
		tail -n 5 "$logs/references.log"
		return
	fi
	tap pipeline inbox --kind uml -- python3 tests/e2e/pipeline_test.py --model "$model" \
		--references "$logs/references.json" --module "$(scripts/build-kmod --print uml)"
}

suite_kill() {
	uml_ready
	need model
	tap kill inbox --kind uml -- python3 tests/e2e/kill_test.py \
		--model "$(scripts/setup --print model)" --module "$(scripts/build-kmod --print uml)"
}

suite_errors() {
	uml_ready
	need model
	tap errors inbox --kind uml -- python3 tests/e2e/errors_test.py \
		--model "$(scripts/setup --print model)" --module "$(scripts/build-kmod --print uml)"
}

suite_routing() {
	uml_ready
	tap routing inbox --kind uml -- tests/e2e/routing_test.sh
}

suite_shapes() {
	uml_ready
	need model
	tap shapes inbox --kind uml -- python3 tests/e2e/shapes_test.py \
		--model "$(scripts/setup --print model)" --module "$(scripts/build-kmod --print uml)"
}

suite_box() {
	uml_ready
	tap box tests/e2e/box_test.sh
}

# Debian's own kernels, in software: in the default run the oldest of them, and of the module's tests
# those of what kernels do differently: io_uring and its end, mappings, fork, poll, memory, tracing.
suite_tcg() {
	local -a tests=(features attach rw poll mmap mmap_split fork fixed_file memcg trace unload
		death_consumer death_producer timeout send send_cancel wait_ioctl wait_uring wait_cancel
		stopped)
	need packages tcg
	need kernel-tcg 6.1 headers 6.1
	scripts/build-kmod 6.1 >/dev/null || failed=$((failed + 1))
	build tests
	tap tcg-6.1 inbox --kind tcg --kernel 6.1 -- tests/selftests/run "${tests[@]/#/kmod_}"
}

suite_kernels() {
	local kernel
	need packages tcg
	build tests
	for kernel in 6.1 6.12 7.2; do
		need kernel-tcg "$kernel" headers "$kernel"
		scripts/build-kmod "$kernel" >/dev/null || failed=$((failed + 1))
		BOX_TIMEOUT=3600 tap "tcg-$kernel" inbox --kind tcg --kernel "$kernel" -- tests/selftests/run
	done
}

suite_kunit() {
	need kernel-debug
	tap kunit tests/kunit/run
}

suite_debug() {
	suite_kunit
	need kernel-debug
	scripts/build-kmod debug >/dev/null || failed=$((failed + 1))
	build tests
	BOX_TIMEOUT=3600 tap debug inbox --kernel debug -- tests/selftests/run
}

suite_kcsan() {
	need packages tcg
	need kernel-kcsan
	scripts/build-kmod kcsan >/dev/null || failed=$((failed + 1))
	build tests
	BOX_TIMEOUT=7200 tap kcsan inbox --kind tcg --kernel kcsan -- tests/selftests/run
}
