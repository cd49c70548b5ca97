# SPDX-License-Identifier: MIT
# bash completion of sluicectl. Options come from --help, so that there is one list of them.

_sluicectl_stages() {
	sluicectl list --json 2>/dev/null | jq -r '.[].name' 2>/dev/null
}

_sluicectl_pipelines() {
	local dir=${SLUICE_RUN_DIR:-/run/sluice}
	[ "$EUID" -eq 0 ] || dir=${SLUICE_RUN_DIR:-${XDG_RUNTIME_DIR:-/run}/sluice}
	local file
	for file in "$dir"/*.json; do
		[ -e "$file" ] && basename "$file" .json
	done
}

_sluicectl_options() {
	sluicectl "$1" --help 2>/dev/null | grep -oE -- '--[a-z][a-z-]*' | sort -u
}

_sluicectl() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
	local command=${COMP_WORDS[1]} words=
	local policies='shared round-robin least-outstanding weighted affinity' commands
	commands='create destroy repair policy list show stats top check send recv route join dead up down run chat model'

	COMPREPLY=()
	if [ "$COMP_CWORD" -eq 1 ]; then
		words="$commands --help --version"
	elif [[ $cur == -* ]]; then
		words=$(_sluicectl_options "$command")
	elif [ "$prev" = --pipeline ]; then
		words=$(_sluicectl_pipelines)
	else
		case $command,$prev in
		model,--policy | model,-p) words='shared round-robin least-outstanding affinity' ;;
		*,--policy) words="$policies broadcast" ;;
		create,--class) words=high ;;
		recv,--format | recv,-f) words='raw line hex json' ;;
		send,--type | send,-T)
			words='text tokens:i32[?] image/png image/jpeg audio/wav audio/ogg'
			;;
		route,route) words=$(_sluicectl_stages) ;;
		join,*) words=$(_sluicectl_stages) ;;
		send,--file | send,-f | up,* | model,model) compopt -o default; return ;;
		dead,dead) words='list show requeue drop' ;;
		policy,policy) words=$(_sluicectl_stages) ;;
		policy,*) words=$policies ;;
		dead,* | destroy,* | repair,* | show,* | stats,* | top,* | check,* | send,send | recv,*)
			words=$(_sluicectl_stages)
			;;
		down,*) words=$(_sluicectl_pipelines) ;;
		esac
	fi
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

complete -F _sluicectl sluicectl
