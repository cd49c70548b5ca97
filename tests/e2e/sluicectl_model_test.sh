#!/bin/bash
# SPDX-License-Identifier: MIT
# Description: sluicectl model: the worked example, replicas, pipeline files, wrong command lines.
#
# TAP on stdout. Needs no module and no box:
#
#	tests/e2e/sluicectl_model_test.sh

# shellcheck source=tests/e2e/tap.sh
. "$(dirname "$0")/tap.sh"
[ -x "$O/bin/sluicectl" ] || make -s -C "$tree" O="$O" userspace >&2 || exit 1
trap 'rm -rf "$work"' EXIT

# Stricter than elsewhere: nothing on the other stream.
succeeds() {
	[ "$status" -eq 0 ] && [ -z "$err" ] && [[ $out =~ $1 ]]
}

# fails STATUS REGEX: that exit status, nothing on stdout, and one line on stderr that matches.
fails() {
	[ "$status" -eq "$1" ] && [ -z "$out" ] && [[ $err =~ $2 ]] && [ "$(wc -l <"$work/err")" -eq 1 ]
}

# A wrong option: argp adds a second line that names --help.
usage() {
	[ "$status" -eq 2 ] && [ -z "$out" ] && [[ $err =~ $1 ]]
}

# ------------------------------------------------------------------------------- tests ---

test_example() {
	try sluicectl model
	check "the example: which stage is the bottleneck" succeeds 'decoder +4s +1 shared +4s 100.0% <- bottleneck'
	check "the first result" succeeds 'first result after +9s '
	check "and then one every 4 s" succeeds 'one every +4s .*throughput +0.25 a second'
	check "ten messages at once" succeeds 'asynchronously +45s '
	check "and one after the other" succeeds 'synchronously +90s '
	check "the article's formulas" succeeds 'T_s, [^ ]+ +4s .*T_a, [^ ]+ +13s .*C, .* 12s +m \* T_s, m = 3'
	check "and what they are not" succeeds "Nothing above uses them.*waits sum T_i \(9s\)"
	try sluicectl model embedding=2s encoder=3s decoder=4s --balancers 3 --json
	check "the same as JSON" json '.first_result_ns == 9e9 and .interval_ns == 4e9 and
		.per_second == 0.25 and .asynchronous_ns == 45e9 and .synchronous_ns == 90e9 and
		.bottleneck == "decoder" and .messages == 10 and
		([.stages[].utilisation] == [0.5, 0.75, 1]) and
		.article == {"synchronous_ns": 4e9, "asynchronous_ns": 13e9, "balancers": 3,
			"balancers_ns": 12e9}'
}

test_options() {
	try sluicectl model embedding=2s encoder=3s decoder=4s --replicas decoder=2 --json
	check "replicas move the bottleneck" json '.bottleneck == "encoder" and
		.interval_ns == 3e9 and .asynchronous_ns == 36e9 and .synchronous_ns == 90e9 and
		.article.synchronous_ns == 4e9'
	try sluicectl model a=15us b=300ms c=2s d=7ns --messages 1 --json
	check "units" json '[.stages[].service_ns] == [15000, 300000000, 2000000000, 7] and
		.asynchronous_ns == 2300015007 and .synchronous_ns == 2300015007'
	try sluicectl model a=10ms --hop 1ms --messages 3 --json
	check "hops delay, and limit nothing" json '.first_result_ns == 12e6 and
		.interval_ns == 10e6 and .asynchronous_ns == 32e6 and .synchronous_ns == 36e6'
	try sluicectl model a=4s -r a=4 --policy affinity --streams 2 --messages 8 --json
	check "affinity with fewer streams than replicas" json '.interval_ns == 2e9 and
		.asynchronous_ns == 16e9 and .stages[0].utilisation == 0.5 and .streams == 2'
	try sluicectl model a=4s b=1s -r a=4 -r b=2 --policy round-robin --policy b=affinity --streams 1 --json
	check "a policy for one stage" json '[.stages[].policy] == ["round-robin", "affinity"]'
	try sluicectl model a=4s -r a=4 --policy weighted --messages 8 --json
	check "weighted: equal replicas in turn" json '.interval_ns == 1e9 and
		.asynchronous_ns == 8e9 and .stages[0].policy == "weighted"'
	try sluicectl model a=0s b=0
	check "stages that take no time" succeeds 'throughput +no limit'
	try sluicectl model a=0s --json
	check "have no throughput in JSON" json '.per_second == null and .interval_ns == 0'
	try sluicectl model a=1ns b=9ns c=3ns -r b=3 -r c=2 -n 1000000000000000000 --json
	check "very many messages" json '.asynchronous_ns > 2.9e18'
}

test_file() {
	cat >"$work/two.toml" <<'END'
[pipeline]
name = "two"
[[stage]]
name = "first"
[[stage]]
name = "second"
replicas = "${n:-4}"
[variables]
n = 4
END
	try sluicectl model "$work/two.toml" second=4s first=3s --json
	check "a pipeline file tells stages and replicas" json '.bottleneck == "first" and
		[.stages[].name] == ["first", "second"] and [.stages[].replicas] == [1, 4] and
		.first_result_ns == 7e9'
	try sluicectl model "$work/two.toml" --set n=1 first=3s second=4s --json
	check "with its variables" json '.bottleneck == "second"'
	try sluicectl model "$work/two.toml" first=3s second=4s --replicas second=2 --json
	check "and --replicas before it" json '.stages[1].replicas == 2'
	try sluicectl model "$work/two.toml" first=3s
	check "a stage of the file without a time" fails 2 "two.toml: stage 'second' has no service time: add second=TIME"
	try sluicectl model "$work/two.toml" first=3s secund=4s
	check "a time of no stage" fails 2 "no stage 'secund'; did you mean 'second'"
	try sluicectl model "$work/none.toml" first=3s
	check "a file that is missing" fails 4 "none.toml"
	echo 'x = ' >"$work/bad.toml"
	try sluicectl model "$work/bad.toml"
	check "a file that is wrong" fails 3 "bad.toml:1"
	try sluicectl model "$work/two.toml" "$work/bad.toml"
	check "two files" usage "one pipeline file"
}

test_errors() {
	try sluicectl model a=5x
	check "a time of no unit" fails 2 "stage 'a': '5x' is not a duration: write 500ms"
	try sluicectl model a=-1s
	check "a negative time" fails 2 "stage 'a': '-1s' is not a duration"
	try sluicectl model a=
	check "an empty time" fails 2 "stage 'a': '' is not a duration"
	try sluicectl model =2s
	check "no name" fails 2 "'=2s' is not STAGE=TIME"
	try sluicectl model "$(printf 'x%.0s' $(seq 48))=2s"
	check "a name that is too long" fails 2 "at most 47 characters"
	try sluicectl model a=2s a=3s
	check "a stage twice" fails 2 "stage 'a' has a time already; replicas are --replicas a=2"
	try sluicectl model decoder=2s --replicas decodr=2
	check "replicas of no stage" fails 2 "--replicas: there is no stage 'decodr'; did you mean 'decoder'"
	try sluicectl model decoder=2s --replicas 2
	check "replicas without a stage" fails 2 "--replicas: '2' is not STAGE=N"
	try sluicectl model decoder=2s --replicas decoder=0
	check "no replicas" fails 2 "--replicas: '0' is not a whole number from 1 to 64"
	try sluicectl model decoder=2s --replicas decoder=65
	check "too many replicas" fails 2 "'65' is not a whole number from 1 to 64"
	try sluicectl model decoder=2s --policy random
	check "an unknown policy" fails 2 "policy 'random' is unknown here: shared, round-robin"
	try sluicectl model decoder=2s --policy encoder=shared
	check "a policy of no stage" fails 2 "--policy: there is no stage 'encoder'"
	try sluicectl model a=1s --replicas a=2 --policy affinity
	check "affinity without streams" fails 2 "stage 'a': affinity.*2 replicas.*--streams 8"
	try sluicectl model a=1s --replicas a=2 --policy affinity --streams 2 -n 2000000
	check "affinity with too many messages" fails 2 "--messages: at most 1048576 with affinity"
	try sluicectl model a=1s --messages 0
	check "no messages" usage "--messages: at least 1"
	try sluicectl model a=1s --messages many
	check "messages that are no number" usage "--messages: 'many' is not a whole number"
	try sluicectl model a=1h --messages 18446744073709551615
	check "longer than 64 bits of nanoseconds" fails 2 "more than 584 years: fewer --messages"
	try sluicectl model a=1h --balancers 18446744073709551615
	check "balancers likewise" fails 2 "more than 584 years.*--balancers"
	try sluicectl model a=1s --set k=v
	check "--set without a file" fails 2 "--set k=v: it goes with a pipeline file"
	# shellcheck disable=SC2046
	try sluicectl model $(seq -f 's%.0f=1s' 65)
	check "too many stages" usage "'s65=1s' is too much, at most 64"
	# shellcheck disable=SC2046
	try sluicectl model $(seq -f 's%.0f=1s' 64) --json
	check "as many as there may be" json '.stages | length == 64'
}

test_help() {
	try sluicectl model --help
	check "--help has examples" succeeds 'Usage: sluicectl model .*Example:.*  sluicectl model .*--replicas decoder=2'
	try sluicectl modle
	check "a misspelt command" fails 2 "did you mean 'model'"
}

test_example
test_options
test_file
test_errors
test_help
echo "1..$count"
[ "$failures" -eq 0 ]
