#!/usr/bin/env bash
# Several processes on this machine, for instance one per GPU.
#   PROCESSES=2 launch/local.sh train configs/ppo_interest_evolution.yaml --run runs/two
# What to change: PROCESSES, and PORT if it is in use. On GPUs, process I sees GPU I alone.
# On CPU, each process has one device unless JAX_NUM_CPU_DEVICES says otherwise.
set -u
: "${PROCESSES:=2}" "${PORT:=12355}" "${JAXREC:=jaxrec}"
export JAX_COORDINATOR_ADDRESS="localhost:$PORT" JAX_NUM_PROCESSES="$PROCESSES"
pids=()
# Bash starts processes in the background with SIGINT ignored; env of GNU undoes that, where there is one. Else a Ctrl-C
# is heard from the first update on.
usual=()
env --default-signal=INT true 2>/dev/null && usual=(env --default-signal=INT)
for ((i = 0; i < PROCESSES; i++)); do
  JAX_PROCESS_ID="$i" JAX_CUDA_VISIBLE_DEVICES="$i" ${usual[@]+"${usual[@]}"} $JAXREC "$@" &
  pids+=("$!")
done
trap 'kill -TERM "${pids[@]}" 2>/dev/null' TERM  # the terminal sends SIGINT to the processes too
trap : INT
status=0
for pid in "${pids[@]}"; do
  wait "$pid"; code=$?
  while kill -0 "$pid" 2>/dev/null; do wait "$pid"; code=$?; done  # a trap ends a wait early
  [ "$code" -eq 0 ] || status="$code"
done
exit "$status"
