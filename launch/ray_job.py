"""Ray Train: every worker is one process of the training, which Ray joins.

    python launch/ray_job.py 2 train configs/ppo_interest_evolution.yaml --run /shared/runs/ray

The first word is the number of workers. What to change: the ScalingConfig below. Ray joins the workers with use_gpu or
use_tpu only. The paths must be on a file system that all workers share; relative ones are those of this command.
"""

import os
import sys
from pathlib import Path


def work(config: dict) -> None:
    """Be one process of the training."""
    from jaxrec.cli import main

    os.chdir(config["folder"])
    if status := main(config["words"]):
        raise SystemExit(status)


def job(workers: int, words: list[str]) -> None:
    """Run `jaxrec WORDS` on all workers."""
    from ray.train import ScalingConfig
    from ray.train.v2.jax import JaxTrainer

    scaling = ScalingConfig(num_workers=workers, use_gpu=True)
    JaxTrainer(work, train_loop_config={"folder": str(Path.cwd()), "words": words}, scaling_config=scaling).fit()


if __name__ == "__main__":
    job(int(sys.argv[1]), sys.argv[2:])
