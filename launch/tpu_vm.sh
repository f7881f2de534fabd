#!/usr/bin/env bash
# A Cloud TPU slice: the same command on every worker VM. JAX asks the metadata server for the other workers.
#   TPU=my-slice ZONE=us-central2-b launch/tpu_vm.sh train configs/ppo_interest_evolution.yaml --run /mnt/shared/runs/tpu
# Before, on all workers: pip install "jaxrec[tpu]" -f https://storage.googleapis.com/jax-releases/libtpu_releases.html
# What to change: TPU, ZONE; the run folder must be on a file system that all workers share (Filestore, GCS Fuse).
set -eu
: "${TPU:?the name of the slice}" "${ZONE:?its zone}" "${JAXREC:=jaxrec}"
printf -v command '%q ' $JAXREC "$@" --processes auto
exec gcloud compute tpus tpu-vm ssh "$TPU" --zone "$ZONE" --worker=all --command "$command"
