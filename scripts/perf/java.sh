# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2154 # tree, cache: set by the script that reads this file
# Building a peer program in Java: pinned libraries through Maven, then plain javac.

java_copy=org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies

# java_tools NAME: says what is missing, after trying to install it.
java_tools() {
	local word
	if ! { command -v javac && command -v java && command -v mvn; } >/dev/null; then
		peer_packages java || return 1
	fi
	for word in javac java mvn; do
		command -v "$word" >/dev/null && continue
		say "$1 needs $word; Debian has it in default-jdk-headless or maven"
		return 1
	done
}

# java_build NAME DIR: DIR/jars and DIR/classes from userspace/perf/peers/NAME, which has a pom.xml,
# the checksums of all its libraries in jars.sha256, options of java in java.args, and the sources.
# DIR/java.args has the class path too.
java_build() {
	local name=$1 out=$2 source=$tree/userspace/perf/peers/$1 log=$cache/log/peer-$1.log
	java_tools "$name" || return 1
	mkdir -p "$out/jars" "$out/classes" "$cache/log"
	if ! (cd "$out/jars" && sha256sum --quiet --strict -c "$source/jars.sha256") >"$log" 2>&1; then
		rm -f "$out"/jars/*.jar
		(with_progress "downloading the libraries of $name" 0 "$log" \
			mvn -B -q -f "$source/pom.xml" -Dmaven.repo.local="$cache/maven" \
			"$java_copy" -DoutputDirectory="$out/jars" -DincludeScope=runtime) || return 1
		if ! (cd "$out/jars" && sha256sum --quiet --strict -c "$source/jars.sha256") >"$log" 2>&1
		then
			say "the libraries of $name are not those of jars.sha256: $(tail -n 1 "$log")"
			return 1
		fi
	fi
	if ! javac -nowarn -d "$out/classes" -cp "$out/jars/*" "$source"/*.java >"$log" 2>&1; then
		say "compiling $name failed; the whole output is in $log"
		return 1
	fi
	{
		cat "$source/java.args"
		printf -- '-cp "%s/classes:%s/jars/*"\n' "$out" "$out"
	} >"$out/java.args"
}
