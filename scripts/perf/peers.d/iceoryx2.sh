# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2154 # tree, cache: set by the script that reads this file
# iceoryx2, the Rust crate. Debian 12's own rustc is too old for every release of it, but Debian 12
# also has a current one that is kept for its web browsers: rustc-web and cargo-web.

iceoryx2_rust=1.89 # rust-version in Cargo.toml

# iceoryx2_cargo: prints the path of a cargo that is new enough.
iceoryx2_cargo() {
	local path version
	for path in "$(command -v cargo)" /usr/bin/cargo; do
		version=$("$path" --version 2>/dev/null) || continue
		version=${version#cargo } version=${version%% *}
		if printf '%s\n' "$iceoryx2_rust" "$version" | sort -VC; then
			echo "$path"
			return
		fi
	done
	return 1
}

# iceoryx2_rust_packages: installs Debian's current Rust, unless an older one would have to go.
iceoryx2_rust_packages() {
	local name
	for name in cargo rustc rustup; do
		if dpkg-query -W -f '${db:Status-Status}\n' "$name" 2>/dev/null | grep -qx installed; then
			say "iceoryx2 needs Rust $iceoryx2_rust or newer, and the package $name is in the" \
				"way of cargo-web: remove it, or put a newer cargo on PATH"
			return 1
		fi
	done
	peer_packages rust
}

build_iceoryx2() {
	local cargo source=$tree/userspace/perf/peers/iceoryx2 target=$cache/peers/iceoryx2 config=()
	if ! cargo=$(iceoryx2_cargo); then
		iceoryx2_rust_packages || return 1
		if ! cargo=$(iceoryx2_cargo); then
			say "iceoryx2 needs Rust $iceoryx2_rust or newer: Debian's cargo-web, or one on PATH"
			return 1
		fi
	fi
	# What the user has set for cargo (a mirror, say) holds although its cache is ours.
	if [ -e "${CARGO_HOME:-$HOME/.cargo}/config.toml" ]; then
		config=(--config "${CARGO_HOME:-$HOME/.cargo}/config.toml")
	fi
	mkdir -p "$target" "$cache/log" "$1"
	(with_progress "building iceoryx2" 0 "$cache/log/peer-iceoryx2.log" \
		env CARGO_HOME="$cache/cargo" RUSTC="${cargo%/*}/rustc" \
		"$cargo" "${config[@]}" build --release --locked \
		--manifest-path "$source/Cargo.toml" --target-dir "$target") || return 1
	install "$target/release/sluice-peer-iceoryx2" "$1/iceoryx2"
}

list_iceoryx2() {
	printf '%s\t%s\t%s\t%s\t%s\n' iceoryx2 spin,sleep round,flow,payload \
		"iceoryx2 0.10.0 (Rust): publish-subscribe, polled, or with its event service to sleep" \
		"$1/iceoryx2"
}
