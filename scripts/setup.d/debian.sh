# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2154 # here, cache, refresh: set by the script that reads this file
# Debian packages: of this machine's release to install, of other releases to unpack only.

# packages_wanted GROUP...: names from packages.txt without a group or with one of these.
packages_wanted() {
	local name why group
	while read -r name why; do
		case $name in '' | '#'*) continue ;; esac
		if [[ $why =~ ^\[([a-z]+)\] ]]; then
			group=${BASH_REMATCH[1]}
			[[ " $* " == *" $group "* ]] || continue
		fi
		echo "$name"
	done <"$here/packages.txt"
}

package_installed() {
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

setup_packages() {
	local missing=() name
	command -v dpkg-query >/dev/null ||
		die "this is no Debian system; install what scripts/packages.txt names by hand"
	for name in $(packages_wanted "$@"); do
		package_installed "$name" || missing+=("$name")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	[ "$(id -u)" = 0 ] ||
		die "packages are missing; as root run: apt-get install ${missing[*]}"
	mkdir -p "$cache/log"
	with_progress "package lists" 0 "$cache/log/apt-update.log" apt-get -q update
	with_progress "installing ${#missing[@]} packages" 0 "$cache/log/apt-install.log" \
		env DEBIAN_FRONTEND=noninteractive \
		apt-get -q install -y --no-install-recommends "${missing[@]}"
}

# The archive that this machine uses, so that no address is written down here.
# shellcheck disable=SC2016 # apt's own variables
debian_mirror() {
	local uri
	uri=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' \
		'Label: Debian' 2>/dev/null | grep -vE '^(cdrom|file):' | sed -n 1p)
	[ -n "$uri" ] || uri=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' |
		grep -E '^https?:.*/debian/?$' | sed -n 1p)
	[ -n "$uri" ] || die "apt names no Debian archive here; run apt-get update, or add a source"
	echo "$uri"
}

# other_release SUITE: sets the array APT to options with lists and cache of our own. The
# machine's own apt settings are only read.
other_release() {
	local dir=$cache/apt/$1 keyring=/usr/share/keyrings/debian-archive-keyring.gpg mirror
	# A mirror that is some days behind will do: what it serves is signed all the same.
	[ -e "$keyring" ] || die "no $keyring; as root run: apt-get install debian-archive-keyring"
	mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial"
	APT=(-q -o "Dir::Etc::sourcelist=$dir/sources.list" -o Dir::Etc::sourceparts=/dev/null
		-o "Dir::State::lists=$dir/lists" -o "Dir::Cache=$dir/cache"
		-o APT::Sandbox::User=root -o Acquire::Languages=none
		-o Acquire::Check-Valid-Until=false)
	[ -z "$(find "$dir/updated" -mmin -120 2>/dev/null)" ] || return 0
	mirror=$(debian_mirror)
	echo "deb [signed-by=$keyring] $mirror $1 main" >"$dir/sources.list"
	with_progress "package lists of Debian $1" 0 "$cache/log/apt-$1.log" \
		apt-get "${APT[@]}" update
	touch "$dir/updated"
}

# newest_package PATTERN: the newest of the packages whose whole name matches, by version number.
newest_package() {
	apt-cache "${APT[@]}" pkgnames | grep -xE "$1" | sort -V | tail -n 1
}

package_version() {
	apt-cache "${APT[@]}" show --no-all-versions "$1" | sed -n 's/^Version: //p' | sed -n 1p
}

# fetch_debs DIR PACKAGE...: downloads packages of the release chosen by other_release.
fetch_debs() {
	local dir=$1
	shift
	mkdir -p "$dir"
	(cd "$dir" && with_progress "downloading $*" 0 "$cache/log/download.log" \
		apt-get "${APT[@]}" download "$@")
}

# The Debian release that ships a kernel series.
suite_of() {
	case $1 in
	6.1) echo bookworm ;;
	6.12) echo trixie ;;
	7.2) echo sid ;;
	*) die "unknown kernel series $1: there are 6.1, 6.12 and 7.2" ;;
	esac
}
