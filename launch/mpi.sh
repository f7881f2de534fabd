#!/usr/bin/env bash
# Open MPI, on one host or several. With --processes auto, JAX reads their number and the coordinator from its variables.
#   PROCESSES=4 launch/mpi.sh train configs/ppo_interest_evolution.yaml --run /shared/runs/four
# What to change: PROCESSES; MPI_OPTIONS for hosts ("--host a:2,b:2"), binding or root ("--allow-run-as-root").
# JAX gives each process one GPU of its host, so start as many processes per host as it has GPUs.
set -eu
: "${PROCESSES:=2}" "${MPI_OPTIONS:=}" "${JAXREC:=jaxrec}"
# XLA uses all cores of a host. Open MPI would leave 1 s between SIGTERM and SIGKILL: too little for a checkpoint.
exec mpirun -n "$PROCESSES" --bind-to none --mca odls_base_sigkill_timeout 60 $MPI_OPTIONS $JAXREC "$@" --processes auto
