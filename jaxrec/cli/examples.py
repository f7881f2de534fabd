"""What `--help` of each command shows below its options."""

TRAIN = """\
example:
  jaxrec train configs/demo.yaml --run runs/demo
  jaxrec train configs/ml_latest_small.yaml data.path=ml-latest-small train.updates=300
  jaxrec train configs/demo.yaml --run runs/demo --resume    (after a stop, crash or kill)
  jaxrec train my.yaml --continue runs/spring data.path=summer-log --run runs/summer

SIGTERM and one Ctrl-C save a checkpoint and stop; a second Ctrl-C leaves at once. --resume continues.
Status: 0 done, 2 refused, 130 stopped by Ctrl-C, 143 stopped by SIGTERM within train.grace_seconds.
Several processes train together with --coordinator, --processes and --process; under Slurm or Open MPI with
--processes auto.
"""
SWEEP = """\
example:
  jaxrec sweep configs/ppo_interest_evolution.yaml learner.learning_rate=1e-3,3e-3 seeds=8
  jaxrec sweep my.yaml 'learner.policy.hidden=[64],[64,64]' learner.gamma=0.9,0.99 seed=3,5 --run runs/grid
  jaxrec sweep configs/ppo_interest_evolution.yaml learner.learning_rate=1e-3,3e-3 seeds=8 --resume

Values between commas are swept over; texts with commas need quotes. Each run is that of `jaxrec train` with its seed.
"""
CHECK_DATA = """\
example:
  jaxrec check-data my.yaml data.path=FOLDER
  jaxrec check-data my.yaml --json

It reads the log as `jaxrec train` would. Nothing is encoded, fitted or written.
"""
FIT_SIMULATOR = """\
example:
  jaxrec fit-simulator configs/demo.yaml
  jaxrec fit-simulator configs/ml_latest_small.yaml data.path=ml-latest-small -o simulators/small
  jaxrec train configs/ml_latest_small.yaml data.path=ml-latest-small env.path=simulators/small
"""
EVALUATE = """\
example:
  jaxrec evaluate runs/demo
  jaxrec evaluate runs/demo evaluate.users=10000
"""
RECOMMEND = """\
example:
  jaxrec recommend runs/demo --history 318,296 -k 10
  jaxrec recommend runs/demo --history 318:4.5,296:2    (ratings; an item without one counts as a success)
  jaxrec recommend runs/demo --history 318,296 --explain
  jaxrec recommend runs/demo --history 318,296 --explain --words SmolLM2-135M-Instruct
  jaxrec recommend runs/shop --user alice@example.org   (history from the log of the recipe)
"""
SERVE = """\
example:
  jaxrec serve runs/demo serve.keys=none                (this machine only, without API keys)
  jaxrec serve runs/demo --new-key shop
  jaxrec serve runs/demo --host 0.0.0.0 --port 8080 serve.explore=softmax serve.temperature=0.5

SIGTERM and Ctrl-C stop it after what was accepted is answered and stored. docs/serving.md describes the API.
"""
SERVE_REPORT = """\
example:
  jaxrec serve runs/demo serve.keys=none serve.split=runs/newer serve.split_share=0.2
  jaxrec serve-report runs/demo

It reads the logs in runs/demo-serve. A part of a log is written every ten minutes, and when the service stops.
"""
EXPORT = """\
example:
  jaxrec export runs/demo -o exported

The folder holds the program, the arrays, the items, and load.py, which needs only jax and flatbuffers.
"""
TOKENS = """\
example:
  jaxrec tokens configs/generative_demo.yaml -o runs/codes
  jaxrec tokens configs/generative_demo.yaml tokens.method=rqvae -o runs/codes-rqvae
  jaxrec pretrain configs/generative_demo.yaml generative.tokens=runs/codes --run runs/generative
"""
RANK_WITH_LM = """\
example:
  jaxrec rank-with-lm SmolLM2-135M-Instruct configs/ml_latest_small.yaml data.path=ml-latest-small --users 100
  jaxrec rank-with-lm models/Qwen3-0.6B configs/ml_latest_small.yaml --chat --dtype bfloat16
  jaxrec rank-with-lm model.gguf configs/ml_latest_small.yaml --history 318,296 --candidates 100 -k 5

A score is the mean log-likelihood per token of an item's title after the titles of the history.
"""
EMBED = """\
example:
  jaxrec embed all-MiniLM-L6-v2 items.csv --column title -o titles.npy
  jaxrec embed models/my-encoder reviews.jsonl.gz --column text --ids review_id -o reviews.parquet max_length=256
  jaxrec embed Qwen/Qwen3-Embedding-0.6B queries.txt -o queries dtype=bfloat16 prompt_name=query    (Orbax folder)

Run a stopped command again to continue it. key=value sets fields of `encoder:` in a recipe. Rows have unit length.
"""
TUNE = """\
example:
  jaxrec tune configs/tune_beauty.yaml --run runs/tuned
  jaxrec tune my.yaml tune.mode=lora tune.learning_rate=1e-3 --run runs/lora
  jaxrec train my.yaml encoder.model=runs/tuned/encoder

With --resume, a stopped command continues from its newest checkpoint.
"""
DISTILL = """\
example:
  jaxrec distill my.yaml distill.layers=3 --run runs/small    (half of MiniLM's layers)
  jaxrec distill my.yaml encoder.model=runs/tuned/encoder distill.layers=3 distill.channels=768 --run runs/small
  jaxrec distill my.yaml distill.student=models/tiny distill.objective=relations --run runs/tiny
  jaxrec train my.yaml encoder.model=runs/small/encoder

With --resume, a stopped command continues from its newest checkpoint.
"""
PRETRAIN = """\
example:
  jaxrec pretrain configs/pretrain_ml_latest_small.yaml data.path=ml-latest-small --run runs/start
  jaxrec recommend runs/start --history 318,296
  jaxrec pretrain my_recipe.yaml --from runs/start --run runs/mine
  jaxrec train configs/pretrain_ml_latest_small.yaml data.path=ml-latest-small learner.start_from=runs/start
  jaxrec train configs/pretrain_ml_latest_small.yaml data.path=ml-latest-small learner.start_from=pretrain    (both)
  jaxrec pretrain configs/generative_demo.yaml --run runs/generative
  jaxrec pretrain configs/generative_demo.yaml --from runs/generative pretrain.loss=grpo --run runs/grpo

With --resume, a stopped command continues from its newest checkpoint.
"""
INSPECT = """\
example:
  jaxrec inspect runs/demo
  jaxrec inspect runs/demo --json
  jaxrec inspect runs/demo/policy
"""
BENCH = """\
example:
  jaxrec bench
  jaxrec bench --json >> machines.jsonl

Medians of a few calls after one that compiles; rates on a busy machine are lower. Nothing is written.
"""
