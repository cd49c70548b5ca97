# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# Suites that need no box.

suite_model() {
	tap model make -s -C tests/model check
	tap model-mutants make -s -C tests/model mutants
}

suite_model_long() {
	tap model-long make -s -C tests/model check-long
}

# cmocka prints TAP when it is asked to; each program is one behaviour or a few.
suite_unit() {
	local program
	need model
	build tests
	for program in $(make -s -C tests/unit list); do
		tap "unit-$(basename "$program")" env CMOCKA_MESSAGE_OUTPUT=TAP "$program"
	done
}

suite_tokenizer() {
	local python
	need model
	need venv e2e tests/e2e/requirements.txt
	build tests
	python=$(scripts/setup --print venv-e2e)/bin/python
	tap tokenizer "$python" tests/e2e/tokenizer_compare.py --tool "$O/tests/tokenize_lines" \
		"$(scripts/setup --print model)"
}

# The forward pass against the independent reference, with room for rounding.
suite_forward() {
	local python
	need model
	need venv e2e tests/e2e/requirements.txt
	python=$(scripts/setup --print venv-e2e)/bin/python
	tap forward "$python" tests/e2e/model_compare.py --perf "$O/bin/sluice-perf" \
		"$(scripts/setup --print model)"
}

suite_install() {
	tap install tests/e2e/install_test.sh
}

# What sluice is measured beside: not what is tested, but figures rest on it.
suite_peers() {
	local list
	list=$(scripts/perf/peers) || true
	tap peers python3 tests/e2e/peers_test.py "$list"
}
