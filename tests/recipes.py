"""A whole run in seconds: the generated log at its smallest, the tiny encoder of the golden tests."""

from pathlib import Path

TINY_ENCODER = Path(__file__).parent / "encoder" / "golden" / "tiny_bert"

TINY = f"""\
seed: 3
data:
  source: generated
  generated: {{items: 60, users: 40, topics: 4, interactions: 20}}
  text: "{{title}}"
encoder: {{model: {TINY_ENCODER}, max_length: 32, cache_dir: ""}}
tastes: {{width: 4, text_components: 8, steps: 60, draws: 2, search: false}}
env: {{name: logged, slate_size: 3, requests: 4, history_length: 12}}
learner:
  name: ppo
  policy: {{encoder: profile, width: 8, hidden: [8]}}
  num_users: 16
  num_shards: 8
  horizon: 4
  epochs: 1
  minibatches: 2
train: {{updates: 8, updates_per_call: 2, checkpoint_every: 4, evaluate_users: 16, devices: 1}}
evaluate: {{users: 40}}
"""

# The same with users who answer by the last rows of their history.
TINY_LAST_ROWS = TINY.replace(
    "env: {name: logged,",
    "response: {history_length: 6, width: 8, heads: 2, epochs: 1, batch_size: 16, members: 2}\n"
    "env: {name: logged, response: last_rows,",
).replace("encoder: profile, ", "")
