"""The launchers of launch/: those that can run here do, the others are read as their schedulers would."""

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from jaxrec.cli import main
from jaxrec.config.load import load_config, to_yaml
from jaxrec.config.schema import Config
from jaxrec.storage.run import RunFolder
from jaxrec.storage.steps import steps_in
from tests import slurm
from tests.several import (
    ONE_DEVICE,
    RECIPE,
    ROOT,
    assert_same_metrics,
    ended,
    free_port,
    rows,
    run_of_one_process,
    wait_until,
)

LAUNCH = ROOT / "launch"
JAXREC = f"{sys.executable} -m jaxrec.cli"
SHORT = RECIPE.replace("updates: 12,", "updates: 4,")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "recipe.yaml").write_text(SHORT)
    return tmp_path


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_of_one_process(tmp_path_factory.mktemp("alone"), SHORT)


def launched(folder: Path, script: str, words: str, **env: str) -> subprocess.Popen[str]:
    environment = os.environ | ONE_DEVICE | {"JAXREC": JAXREC, "PROCESSES": "2", "PORT": str(free_port())} | env
    return subprocess.Popen(
        [str(LAUNCH / script), *words.split()],
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_local_processes_learn_what_one_does(folder: Path, alone: Path) -> None:
    process = launched(folder, "local.sh", "train recipe.yaml --run run")
    out, err = process.communicate(timeout=180)
    assert process.returncode == 0, err
    assert "on 2 x cpu in 2 processes" in out
    assert_same_metrics(folder / "run", alone, 4)


@pytest.mark.skipif(
    subprocess.run(["env", "--default-signal=INT", "true"], capture_output=True).returncode != 0,
    reason="env has no --default-signal (GNU coreutils 8.31)",
)
def test_processes_of_local_sh_do_not_ignore_ctrl_c(folder: Path) -> None:
    (folder / "ignored.py").write_text("import signal\nprint(signal.getsignal(signal.SIGINT).__name__)\n")
    process = launched(folder, "local.sh", "", JAXREC=f"{sys.executable} ignored.py")
    out, err = process.communicate(timeout=60)
    assert out.count("default_int_handler") == 2, err  # the lines may be mixed


@pytest.mark.slow
def test_sigterm_to_local_sh_stops_its_processes_with_a_checkpoint(folder: Path) -> None:
    process = launched(folder, "local.sh", "train recipe.yaml --run run train.updates=1000000")
    wait_until(lambda: (folder / "run" / "metrics.jsonl").exists(), 120)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 143, err
    step = rows(folder / "run")[-1]["step"]
    assert steps_in(folder / "run" / "checkpoints")[-1] == step and f"stopped at update {step}" in out


@pytest.mark.skipif(shutil.which("mpirun") is None, reason="mpirun is not installed (Debian: openmpi-bin)")
def test_open_mpi_finds_its_processes(folder: Path, alone: Path) -> None:
    options = "--oversubscribe --allow-run-as-root" if os.geteuid() == 0 else "--oversubscribe"
    (both,) = ended([launched(folder, "mpi.sh", "train recipe.yaml --run run", MPI_OPTIONS=options)], seconds=300)
    assert both.code == 0, both.err
    assert "on 2 x cpu in 2 processes" in both.out
    assert_same_metrics(folder / "run", alone, 4)


@pytest.mark.slow
@pytest.mark.skipif(bool(slurm.missing()), reason=slurm.missing())
def test_a_slurm_job_that_is_preempted_and_requeued_goes_on(folder: Path, alone: Path, tmp_path_factory: Any) -> None:
    run = folder / "run"
    env = os.environ | ONE_DEVICE | {"JAXREC": JAXREC, "RUN": str(run)}
    words = ["sbatch", "--parsable", "--nodes=1", "--ntasks-per-node=2", "--gpus-per-node=0", "--cpus-per-task=1"]
    words += ["--time=30", f"--output={folder}/said", str(LAUNCH / "slurm.sbatch"), "train", "recipe.yaml"]
    words += ["train.updates=1000000", "train.checkpoint_every=1000000"]

    def over(job: str) -> bool:
        return bool(re.search("JobState=(COMPLETED|FAILED|CANCELLED)", slurm.asked("scontrol", "show", "job", job)))

    with slurm.cluster(tmp_path_factory.mktemp("slurm")):
        env["SLURM_CONF"] = os.environ["SLURM_CONF"]
        job = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=True).stdout.strip()
        try:
            wait_until(lambda: len(rows(run)) >= 4, 120)
            slurm.asked("scancel", "--signal=TERM", job)
            wait_until(lambda: over(job), 120)
            (first,) = steps_in(run / "checkpoints")
            assert first == rows(run)[-1]["step"]
            assert f"stopped at update {first}" in (folder / "said").read_text()
            slurm.asked("scontrol", "requeue", job)
            wait_until(lambda: rows(run)[-1]["step"] > first, 180)
            slurm.asked("scancel", "--signal=TERM", job)
            wait_until(lambda: over(job), 120)
        finally:
            subprocess.run(["scancel", "--full", job], check=False)
    said = (folder / "said").read_text()
    assert said.count("on 2 x cpu in 2 processes") == 2
    assert [row["step"] for row in rows(run)] == list(range(1, rows(run)[-1]["step"] + 1))
    score = "evaluation_return"  # the run alone evaluated its last update, and this one did not
    for mine, other in zip(rows(run)[:3], rows(alone)[:3], strict=True):
        assert mine.keys() - {score} == other.keys() - {score}
    assert_same_metrics(run, alone, 3)


def fields(value: Any, shape: Any, where: str = "") -> None:
    """Check the names and types of a document against a shape: {name: shape}, [shape of all], or types."""
    if isinstance(shape, dict):
        assert isinstance(value, dict), where
        unknown = value.keys() - {name.rstrip("!") for name in shape}
        assert not unknown, f"{where}: {unknown}"
        for name, inner in shape.items():
            if name.endswith("!"):
                assert name[:-1] in value, f"{where}: {name[:-1]} is missing"
            if name.rstrip("!") in value:
                fields(value[name.rstrip("!")], inner, f"{where}.{name.rstrip('!')}")
    elif isinstance(shape, list):
        assert isinstance(value, list) and value, where
        for one in value:
            fields(one, shape[0], f"{where}[]")
    elif isinstance(shape, set):
        assert value in shape, f"{where}: {value}"
    else:
        assert isinstance(value, shape) and not (shape is int and isinstance(value, bool)), f"{where}: {value}"


# From the reference of jobset.x-k8s.io/v1alpha2, batch/v1 Job and core/v1 PodSpec: the fields that the file uses.
CONTAINER = {
    "name!": str,
    "image!": str,
    "command": [str],
    "args": [str],
    "env": [{"name!": str, "value": str, "valueFrom": {"fieldRef!": {"fieldPath!": str, "apiVersion": str}}}],
    "ports": [{"containerPort!": int, "name": str, "protocol": {"TCP", "UDP", "SCTP"}}],
    "resources": {"limits": {"nvidia.com/gpu": int, "cpu": str, "memory": str}, "requests": dict},
    "volumeMounts": [{"name!": str, "mountPath!": str, "readOnly": bool, "subPath": str}],
}
POD = {
    "restartPolicy!": {"Never", "OnFailure"},  # a Job refuses Always
    "terminationGracePeriodSeconds": int,
    "containers!": [CONTAINER],
    "volumes": [{"name!": str, "persistentVolumeClaim": {"claimName!": str, "readOnly": bool}, "emptyDir": dict}],
    "nodeSelector": dict,
    "tolerations": list,
}
JOB = {
    "completionMode": {"Indexed", "NonIndexed"},
    "completions": int,
    "parallelism": int,
    "backoffLimit": int,
    "template!": {"metadata": dict, "spec!": POD},
}
JOBSET = {
    "apiVersion!": {"jobset.x-k8s.io/v1alpha2"},
    "kind!": {"JobSet"},
    "metadata!": {"name!": str, "labels": {"kueue.x-k8s.io/queue-name!": str}, "annotations": dict},
    "spec!": {
        "network": {"enableDNSHostnames": bool, "subdomain": str, "publishNotReadyAddresses": bool},
        "failurePolicy": {"maxRestarts": int, "rules": list},
        "successPolicy": {"operator!": {"All", "Any"}, "targetReplicatedJobs": list},
        "replicatedJobs!": [{"name!": str, "replicas": int, "template!": {"metadata": dict, "spec!": JOB}}],
        "suspend": bool,
    },
}
# From the reference of SkyPilot's task YAML.
SKY = {
    "name": str,
    "workdir": str,
    "num_nodes": int,
    "resources": {"accelerators": str, "use_spot": bool, "infra": str, "cpus": str, "memory": str, "image_id": str},
    "file_mounts": dict,
    "envs": dict,
    "setup": str,
    "run": str,
}


def test_the_jobset_has_the_published_fields_and_consistent_sizes() -> None:
    document = yaml.safe_load((LAUNCH / "jobset.yaml").read_text())
    fields(document, JOBSET)
    (job,) = document["spec"]["replicatedJobs"]
    spec = job["template"]["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    env = {one["name"]: one.get("value") for one in container["env"]}
    assert int(env["JAX_NUM_PROCESSES"]) == spec["completions"] == spec["parallelism"] and job["replicas"] == 1
    host = f"{document['metadata']['name']}-{job['name']}-0-0.{document['metadata']['name']}"
    assert env["JAX_COORDINATOR_ADDRESS"] == f"{host}:{container['ports'][0]['containerPort']}"
    mounts, volumes = container["volumeMounts"], spec["template"]["spec"]["volumes"]
    assert {one["name"] for one in mounts} == {one["name"] for one in volumes}
    # A checkpoint fits between SIGTERM and SIGKILL.
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] > 25


FAKE = """\
#!/usr/bin/env bash
echo "$*" >> said
trap 'echo stopped >> said; exit 143' TERM
for ((i = 0; i < 1000; i++)); do sleep 0.01; done
exit 0
"""


def test_the_shell_of_the_jobset_resumes_what_began_and_passes_sigterm_on(tmp_path: Path) -> None:
    document = yaml.safe_load((LAUNCH / "jobset.yaml").read_text())
    (job,) = document["spec"]["replicatedJobs"]
    (container,) = job["template"]["spec"]["template"]["spec"]["containers"]
    (tmp_path / "jaxrec").write_text(FAKE)
    (tmp_path / "jaxrec").chmod(0o755)
    env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "RUN": "run"}
    said = tmp_path / "said"
    (tmp_path / "run" / "simulators").mkdir(parents=True)
    for words in ("--run run", "--run run --resume"):
        process = subprocess.Popen([*container["command"], *container["args"]], cwd=tmp_path, env=env)
        wait_until(said.exists, 20)
        time.sleep(0.2)  # until the traps are set
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 143
        assert said.read_text() == f"train configs/ppo_interest_evolution.yaml {words}\nstopped\n"
        said.unlink()
        (tmp_path / "run" / "config.yaml").touch()  # a run that was stopped while it prepared has no checkpoint


def test_launchers_resume_a_run_that_was_stopped_before_its_first_checkpoint() -> None:
    for name in ("jobset.yaml", "sky.yaml", "slurm.sbatch"):
        assert '-f "$RUN/config.yaml" ' in (LAUNCH / name).read_text(), name


def test_a_run_that_was_stopped_while_it_prepared_is_resumed_from_its_recipe(folder: Path, alone: Path) -> None:
    words = ["train", str(folder / "recipe.yaml"), "--run", str(folder / "run"), "train.devices=2"]
    RunFolder.create(folder / "run", to_yaml(load_config(Config, folder / "recipe.yaml", ["train.devices=2"])))
    (folder / "run" / "simulators").mkdir()
    assert main(words) == 2
    assert main([*words, "--resume"]) == 0
    assert (folder / "run" / "metrics.jsonl").read_bytes() == (alone / "metrics.jsonl").read_bytes()


def test_the_skypilot_task_has_the_published_fields() -> None:
    document = yaml.safe_load((LAUNCH / "sky.yaml").read_text())
    fields(document, SKY)
    for mount in document["file_mounts"].values():
        fields(mount, {"name": str, "store": {"s3", "gcs", "azure", "r2"}, "mode": {"MOUNT", "COPY", "MOUNT_CACHED"}})
    assert subprocess.run(["bash", "-n"], input=document["run"], text=True).returncode == 0
    for name in ("SKYPILOT_NODE_IPS", "SKYPILOT_NUM_NODES", "SKYPILOT_NODE_RANK"):
        assert f"${name}" in document["run"]


def test_a_document_with_a_wrong_field_is_found() -> None:
    document = yaml.safe_load((LAUNCH / "jobset.yaml").read_text())
    document["spec"]["replicatedJobs"][0]["template"]["spec"]["completion"] = 2
    with pytest.raises(AssertionError, match="completion"):
        fields(document, JOBSET)


@pytest.mark.parametrize("script", sorted(path.name for path in [*LAUNCH.glob("*.sh"), *LAUNCH.glob("*.sbatch")]))
def test_scripts_are_well_formed_and_executable(script: str) -> None:
    assert subprocess.run(["bash", "-n", str(LAUNCH / script)]).returncode == 0
    assert os.access(LAUNCH / script, os.X_OK)


def test_every_launcher_calls_jaxrec_with_what_the_command_line_knows() -> None:
    for path in LAUNCH.iterdir():
        text = path.read_text()
        assert "jaxrec" in text.lower() and "to change" in text.lower(), path.name
        for option in set(re.findall(r"(?<=\s)--(?:resume|run|processes|process|coordinator)\b", text)):
            assert option in subprocess_help(), (path.name, option)
    ast.parse((LAUNCH / "ray_job.py").read_text())


def subprocess_help() -> str:
    from jaxrec.cli.parser import make_parser

    (commands,) = (action for action in make_parser()._actions if action.dest == "command" or action.choices)
    return commands.choices["train"].format_help()
