#!/usr/bin/env bash
# Check a fresh GPU machine, measure it in under 9 minutes, and write lines of JSON and a table into benchmarks/results/.
#
#   python3 -m venv .venv && .venv/bin/pip install -e ".[test,cuda13]"     (cuda12 for older drivers)
#   benchmarks/gpu.sh                       or: PYTHON=python3 OUT=/somewhere benchmarks/gpu.sh
#
# First it checks correctness: encoders against stored outputs of torch, simulators against published moments, and one
# run of PPO, whose policy must beat random slates. A failure ends the script, and nothing is written. Then it measures;
# a measurement that fails or does not fit into the time is left out with a line that says so, and the exit status is 3.
# Without a GPU it takes the short form by itself (SHORT=1 asks for it on a GPU), which tests the script, not the machine.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
OUT=${OUT:-benchmarks/results}
LIMIT=${LIMIT:-530} # seconds for everything
export PYTHONPATH=. JAX_COMPILATION_CACHE_DIR=${JAX_COMPILATION_CACHE_DIR:-$HOME/.cache/jaxrec/compiled}
export JAXREC_USER_KEY=${JAXREC_USER_KEY:-of this benchmark only: nobody is hidden}

if ! found=$("$PYTHON" -c 'import jax; d = jax.devices()[0]; print(d.platform, len(jax.devices()), d.device_kind)'); then
  echo "benchmarks/gpu.sh: $PYTHON cannot import jax or finds no device; set PYTHON to the environment's python." >&2
  exit 2
fi
read -r platform count kind <<<"$found"
echo "device: $count x $kind ($platform)"
if [[ $platform == cpu ]]; then
  echo "no GPU was found: short form"
  SHORT=1
fi

mkdir -p "$OUT" # before minutes are spent on what could not be written
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
lines=$work/lines.jsonl
: >"$lines"
missing=0

limited() { # run within what is left of the time
  local left=$((LIMIT - SECONDS))
  ((left > 0)) || { echo "no time is left" >&2; return 124; }
  timeout --signal=KILL "$left" "$@"
}

check() { # name, command...
  echo "check: $1 (at second $SECONDS)"
  limited "${@:2}" >"$work/said" 2>&1 || { cat "$work/said" >&2; echo "failed: $1" >&2; exit 1; }
}

measure() { # name, command that prints lines of JSON...
  echo "measure: $1 (at second $SECONDS)"
  if limited "${@:2}" >"$work/found" 2>"$work/said"; then
    grep '^{' "$work/found" >>"$lines" || { echo "left out: $1 (no line of JSON)" >&2; missing=1; }
  else
    grep '^{.*}$' "$work/found" >>"$lines" || true # those that were complete before the end
    tail -3 "$work/said" >&2
    echo "left out: $1, or what it had not printed yet" >&2
    missing=1
  fi
}

if [[ ${SHORT:-} ]]; then
  updates=20 least=165 users=(256) calls=3 ppo_users=(64) options=(--matrix 512 --megabytes 64)
else
  updates=300 least=270 users=(4096 65536 1048576) calls=7 ppo_users=(512 8192) options=()
fi
tests=(
  tests/encoder/test_golden.py::test_hidden_states_equal_the_torch_implementation
  tests/envs/test_interest_evolution.py::test_reference_policies_have_the_published_moments
  tests/envs/test_long_term_satisfaction.py::test_reference_policies_have_the_published_returns
)
# A GPU multiplies float32 in fewer bits by default, which is no fault of the encoder.
check "encoders and simulators" env JAX_DEFAULT_MATMUL_PRECISION=highest "$PYTHON" -m pytest -q -n 0 "${tests[@]}"
check "a run of PPO" "$PYTHON" -m jaxrec.cli train configs/ppo_interest_evolution.yaml --run "$work/run" \
  "train.updates=$updates" "learner.anneal_updates=$updates" "train.checkpoint_every=$updates"
check "its return is above $least" "$PYTHON" benchmarks/table.py --run "$work/run" --above "$least"
cat "$work/said"

measure "peaks" "$PYTHON" benchmarks/peaks.py --calls "$calls" "${options[@]}"
measure "jaxrec bench" "$PYTHON" -m jaxrec.cli bench --json --calls "$calls"
for n in "${ppo_users[@]}"; do
  measure "PPO, $n users" "$PYTHON" benchmarks/ppo_updates.py --users "$n" --calls "$calls"
done
measure "replay" "$PYTHON" benchmarks/replay.py --calls "$((calls * 10))"
measure "simulators" "$PYTHON" benchmarks/env_steps.py --users "${users[@]}" --slates dealt --calls "$calls"

[[ -s $lines ]] || { echo "nothing was measured" >&2; exit 1; }
name=$(tr -cs 'A-Za-z0-9\n' '-' <<<"$kind${SHORT:+ short}" | tr 'A-Z' 'a-z')
mv "$lines" "$OUT/gpu-$name.jsonl"
"$PYTHON" benchmarks/table.py "$OUT/gpu-$name.jsonl" >"$work/table.md"
mv "$work/table.md" "$OUT/gpu-$name.md"
cat "$OUT/gpu-$name.md"
echo "written: $OUT/gpu-$name.jsonl and .md, after $SECONDS s"
exit $((missing * 3))
