"""Describe what a folder holds, its progress and the next command. Reads no arrays and imports no JAX."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxrec.checks import InputError
from jaxrec.config.load import load_config
from jaxrec.config.pretrain import GENERATIVE
from jaxrec.config.schema import Config
from jaxrec.config.users import fitted_simulators
from jaxrec.data.item_features import encodings_from_json
from jaxrec.runs.half_written import folder_bytes, read_account, read_rows
from jaxrec.runs.inspect_damage import damage_in
from jaxrec.runs.inspect_encoder import describe_distillation, describe_tuning
from jaxrec.runs.inspect_generative import describe_generator, describe_tokens
from jaxrec.runs.inspect_sweep import describe_sweep
from jaxrec.storage.array_headers import ArrayHeader, array_headers
from jaxrec.storage.lock import LOCK
from jaxrec.storage.run import RunFolder
from jaxrec.storage.saved_spec import saved_spec
from jaxrec.storage.schemas import check_description
from jaxrec.storage.stage_folders import GENERATOR, TOKENS, PretrainFolder
from jaxrec.storage.steps import ARRAYS, METRIC, METRICS, UNJUDGED, steps_in

COMPILE = "compile_seconds"  # of the first row of a process in timings.jsonl


def describe(folder: Path) -> dict[str, Any]:
    """Describe a folder as plain data; `damaged` has one line for each part that is not as it was written.

    Raises InputError for unknown folders, and for those that are too damaged to be described.
    """
    for name, describe_kind in KINDS:
        if (folder / name).is_file():
            try:
                return describe_kind(folder) | {"damaged": damage_in(folder)}
            except InputError:
                raise
            except (OSError, ValueError, KeyError, TypeError) as error:
                reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
                raise InputError(f"{folder}: damaged ({reason}); restore it or make it again.") from None
    raise InputError(
        f"{folder}: neither a run nor a policy, simulators, semantic ids, a tuned encoder or a sweep; give a folder "
        "that `jaxrec train`, `pretrain`, `fit-simulator`, `tokens`, `tune`, `distill` or `sweep` wrote."
    )


def describe_run(folder: Path) -> dict[str, Any]:
    """Describe a run in any state: not started, training, killed, finished or evaluated."""
    run = RunFolder.open(folder)
    config = load_config(Config, run.config)
    metrics, timings = read_rows(run.metrics), read_rows(run.timings)
    policy = _describe_saved(run.policy) if run.policy.is_dir() else None
    account = {
        "kind": "run",
        "path": str(folder),
        "updates": {"measured": metrics[-1]["step"] if metrics else 0, "asked": config.train.updates},
        "recipe": _recipe(config, policy),
        "simulators": describe_simulators(run.simulators) if run.simulators.is_dir() else None,
        "policy": policy,
        "checkpoints": _checkpoints(run.checkpoints),
        "last_metrics": metrics[-1] if metrics else None,
        "last_timing": next((row for row in reversed(timings) if "seconds" in row), None),
        "seconds_in_updates": round(sum(row.get("seconds", 0.0) for row in timings), 1),
        "compile_seconds": next((row[COMPILE] for row in reversed(timings) if COMPILE in row), None),
        "evaluation": _evaluation(read_account(run.evaluation)) if run.evaluation.is_file() else None,
        "bytes_on_disk": folder_bytes(folder),
    }
    account["missing"], account["next"] = _what_is_left(run, config, account)
    return account


def describe_pretraining(folder: Path) -> dict[str, Any]:
    """Describe a folder of `jaxrec pretrain` in any state."""
    run = PretrainFolder.open(folder)
    config, rows, account = load_config(Config, run.config), read_rows(run.metrics), read_account(run.account)
    done = run.evaluation.is_file()
    score = "validation_ndcg@10"
    return {
        "kind": "pretrain",
        "path": str(run.path),
        "steps": {"measured": rows[-1]["step"] if rows else 0, "asked": account["steps"]},
        "source": " ".join([config.encoder.model, "(texts)"] if config.pretrain.texts else ["random rows"]),
        "score": score,
        "scores": [{"step": row["step"], "score": row[score]} for row in rows if score in row],
        "last_metrics": rows[-1] if rows else None,
        "policy": _describe_saved(run.policy) if run.policy.is_dir() else None,
        "account": read_account(run.evaluation) if done else None,
        "bytes_on_disk": folder_bytes(run.path),
        "next": next_of_pretraining(config, run) if done else f"jaxrec pretrain {run.config} --run {run.path} --resume",
    }


def next_of_pretraining(config: Config, run: PretrainFolder) -> str:
    """The command that uses a finished pretraining: learning starts from policies, and generators recommend."""
    if config.pretrain.model == GENERATIVE:
        ids = read_account(run.policy / "items.json")["ids"][:2]
        return f"jaxrec recommend {run.path} --history {','.join(ids)}"
    return f"jaxrec train {run.config} learner.start_from={run.path} --run {run.path}-train"


def describe_simulators(folder: Path) -> dict[str, Any]:
    """Describe the simulators of a run or of `jaxrec fit-simulator`; those not fitted yet are missing."""
    log = read_account(folder / "log.json") if (folder / "log.json").is_file() else {}
    report = read_account(folder / "validity.json") if (folder / "validity.json").is_file() else {}
    return {
        "kind": "simulators",
        "path": str(folder),
        "log": {name: log[name] for name in ("rows", "users", "feedback") if name in log},
        "validity": {
            name: {measure: kind[measure] for measure in ("auc", "ece", "base_rate")}
            for name, kind in report.get("feedback", {}).items()
        },
        "fitted": {name: _describe_saved(folder / name) for name in ("train", "judge") if (folder / name).is_dir()},
        "bytes_on_disk": folder_bytes(folder),
    }


def _describe_saved(folder: Path) -> dict[str, Any]:
    """Describe a folder of arrays: a policy, a generator, semantic ids or one simulator."""
    description = read_account(folder / "description.json")
    check_description(folder / "description.json", description)
    if (describe_other := OTHER.get(description["kind"])) is not None:
        return describe_other(folder, description)
    arrays = array_headers(folder / "arrays")
    table = arrays["item_table"]
    account = {
        "kind": description["kind"],
        "path": str(folder),
        "version": description["version"],
        "items": table.shape[0],
        "recommendable": arrays["recommendable"].size if "recommendable" in arrays else table.shape[0],
        "item_table": _array(table) | {"bytes": table.nbytes},
        "bytes_on_disk": folder_bytes(folder),
    }
    if description["kind"] == "policy":
        params = {name.removeprefix("params."): x for name, x in arrays.items() if name.startswith("params.")}
        spec, features = saved_spec(description), description.get("item_features", {})
        account |= {name: spec[name] for name in ("action", "history_length", "user_size", "feedback")}
        account |= {
            "step": description["step"],
            "env": spec["name"],
            "network": description["network"],
            "parameters": sum(x.size for x in params.values()),
            "arrays": {name: _array(x) for name, x in params.items()},
            "item_features": {name: one.width for name, one in encodings_from_json(features, folder).items()},
        }
    else:
        account |= {"members": description["members"], "users": arrays["begin"].size if "begin" in arrays else None}
    return account


def _recipe(config: Config, policy: dict[str, Any] | None) -> dict[str, Any]:
    """The main settings of a recipe; the kind of action is known once a policy is saved."""
    env, learner = config.env, config.learner
    recipe = {
        "seed": config.seed,
        "env": env.name,
        "action": None if policy is None else policy["action"],
        "requests": getattr(env, "requests", None),
        "reward": dict(getattr(env, "reward", {})),
    }
    if config.data is not None:
        recipe |= {"encoder": config.encoder.model, "source": config.data.source, "data": config.data.path}
    return recipe | {
        "learner": learner.name,
        "users": learner.num_users,
        "horizon": learner.horizon,
        "learning_rate": learner.learning_rate,
        "gamma": learner.gamma,
        "network": learner.policy.encoder,
        "width": learner.policy.width,
    }


def _checkpoints(folder: Path) -> list[dict[str, Any]]:
    """Describe all checkpoints, oldest first; the best is the earliest with the highest return."""
    found = []
    for step in steps_in(folder):
        score = read_account(folder / str(step) / METRICS)[METRIC]
        arrays = array_headers(folder / str(step) / ARRAYS)
        parts: dict[str, int] = {}
        for name, x in arrays.items():
            part = name.split(".")[0]
            parts[part] = parts.get(part, 0) + x.nbytes
        found.append(
            {
                "step": step,
                "return": score if score > UNJUDGED else None,
                "bytes_on_disk": folder_bytes(folder / str(step)),
                "bytes_in_memory": parts,
                "replay": _replay(arrays),
            }
        )
    scores = [row["return"] for row in found if row["return"] is not None]
    best = next((row for row in found if scores and row["return"] == max(scores)), None)
    return [row | {"best": row is best} for row in found]


def _replay(arrays: dict[str, ArrayHeader]) -> dict[str, int] | None:
    """Capacity of the replay in a state, in transitions."""
    rows = arrays.get("replay.rows.terminated")
    return None if rows is None else {"transitions": rows.size}


def _evaluation(account: dict[str, Any]) -> dict[str, Any]:
    simulators = {
        name: {who: {key: row[key] for key in ("return", "return_95")} for who, row in section["recommenders"].items()}
        for name, section in account["simulators"].items()
    }
    train = account["simulators"]["train"]
    return {
        "step": account["step"],
        "users": account["users"],
        "simulators": simulators,
        "gap_closed": train.get("gap_closed"),
        "lift_kept": account.get("lift_kept"),
        "held_out": account.get("held_out", {}).get("policy"),
    }


def _what_is_left(run: RunFolder, config: Config, account: dict[str, Any]) -> tuple[list[str], str]:
    """What this run lacks compared with a finished one, and the command that continues."""
    missing = []
    simulators, policy, evaluation = account["simulators"], account["policy"], account["evaluation"]
    fitted = [] if simulators is None else simulators["fitted"]
    missing += [f"the {name} simulator" for name in fitted_simulators(config.env) if name not in fitted]
    steps = [row["step"] for row in account["checkpoints"]]
    done = steps[-1] if steps else 0
    if done < config.train.updates:
        missing.append(f"updates {done + 1} to {config.train.updates}")
    if policy is None:
        missing.append("a policy")
    if missing:
        logged = config.data is not None and config.data.source != "generated"
        if logged and {path.name for path in run.path.iterdir()} <= {run.config.name, LOCK}:
            # Most often the log was refused, and to resume would be refused again.
            return missing, f"jaxrec check-data {run.config}"
        return missing, f"jaxrec train {run.config} --run {run.path} --resume"
    assert policy is not None
    if evaluation is None or evaluation["step"] != policy["step"]:
        return ["an evaluation of this policy"], f"jaxrec evaluate {run.path}"
    ids = read_account(run.policy / "items.json")["ids"][:2]
    if not ids or not policy["history_length"] or policy["user_size"]:
        return [], ""  # it reads inputs that only simulated users have
    return [], f"jaxrec recommend {run.path} --history {','.join(ids)}"


def _array(x: ArrayHeader) -> dict[str, Any]:
    return {"shape": list(x.shape), "dtype": x.dtype.name}


OTHER = {TOKENS: describe_tokens, GENERATOR: describe_generator}  # kinds of arrays without an item table of their own
# The first of these files that exists tells the kind of folder.
KINDS: tuple[tuple[str, Callable[[Path], dict[str, Any]]], ...] = (
    ("simulator.json", describe_simulators),
    ("pretraining.json", describe_pretraining),
    ("config.yaml", describe_run),
    ("description.json", _describe_saved),
    ("log.json", describe_simulators),
    ("tune.yaml", describe_tuning),
    ("distill.yaml", describe_distillation),
    ("sweep.yaml", describe_sweep),
)
