"""The files that deploy the service, read as Docker and Kubernetes would."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import yaml

from jaxrec.cli import parse
from jaxrec.config.serve import ServeConfig
from jaxrec.data.pseudonyms import VARIABLE
from jaxrec.runs.serve import KEYS
from jaxrec.serve.monitor import Monitor
from jaxrec.serve.openapi import openapi
from tests.test_launch import LAUNCH, ROOT, fields

# From the references of apps/v1 StatefulSet, core/v1 PodSpec and Service, networking.k8s.io/v1 Ingress and
# autoscaling/v2 HorizontalPodAutoscaler: the fields that the file uses.
PROBE = {
    "httpGet!": {"path!": str, "port!": (str, int), "scheme": {"HTTP", "HTTPS"}},
    **dict.fromkeys(("periodSeconds", "timeoutSeconds", "failureThreshold", "initialDelaySeconds"), int),
}
SECURITY = {
    "allowPrivilegeEscalation": bool,
    "readOnlyRootFilesystem": bool,
    "capabilities": {"drop": [str], "add": [str]},
}
CONTAINER = {
    "name!": str,
    "image!": str,
    "args": [str],
    "env": [{"name!": str, "value": str, "valueFrom": {"secretKeyRef": {"name!": str, "key!": str}}}],
    "ports": [{"containerPort!": int, "name": str}],
    **dict.fromkeys(("startupProbe", "readinessProbe", "livenessProbe"), PROBE),
    "resources": {"requests": {"cpu": str, "memory": str}, "limits": {"cpu": str, "memory": str}},
    "securityContext": SECURITY,
    "volumeMounts": [{"name!": str, "mountPath!": str, "readOnly": bool, "subPath": str}],
}
POD = {
    "terminationGracePeriodSeconds": int,
    "automountServiceAccountToken": bool,
    "securityContext": {"runAsNonRoot": bool, "runAsUser": int, "fsGroup": int},
    "containers!": [CONTAINER],
    "volumes": [
        {
            "name!": str,
            "persistentVolumeClaim": {"claimName!": str, "readOnly": bool},
            "secret": {"secretName!": str},
            "emptyDir": dict,
        }
    ],
}
CLAIM = {
    "metadata!": {"name!": str},
    "spec!": {
        "accessModes!": [{"ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"}],
        "resources!": {"requests!": {"storage!": str}},
    },
}
STATEFUL_SET = {
    "serviceName!": str,
    "replicas": int,
    "podManagementPolicy": {"OrderedReady", "Parallel"},
    "selector!": {"matchLabels!": dict},
    "template!": {"metadata!": {"labels!": dict}, "spec!": POD},
    "volumeClaimTemplates": [CLAIM],
}
SERVICE = {"selector": dict, "ports!": [{"name": str, "port!": int, "targetPort": (str, int)}]}
BACKEND = {"service!": {"name!": str, "port!": {"name": str, "number": int}}}
PATHS = {"paths!": [{"path": str, "pathType!": {"Exact", "Prefix", "ImplementationSpecific"}, "backend!": BACKEND}]}
INGRESS = {
    "ingressClassName": str,
    "tls": [{"hosts": [str], "secretName": str}],
    "rules": [{"host": str, "http": PATHS}],
}
TARGET = {"type!": {"Utilization", "Value", "AverageValue"}, "averageValue": str}
AUTOSCALER = {
    "scaleTargetRef!": {"apiVersion": str, "kind!": str, "name!": str},
    "minReplicas": int,
    "maxReplicas!": int,
    "metrics": [{"type!": {"Pods"}, "pods": {"metric!": {"name!": str}, "target!": TARGET}}],
    "behavior": {"scaleDown": {"stabilizationWindowSeconds": int}},
}
SPECS = {
    ("apps/v1", "StatefulSet"): STATEFUL_SET,
    ("v1", "Service"): SERVICE,
    ("networking.k8s.io/v1", "Ingress"): INGRESS,
    ("autoscaling/v2", "HorizontalPodAutoscaler"): AUTOSCALER,
}


def deployed() -> dict[str, Any]:
    """The documents of the file by their kind."""
    documents = list(yaml.safe_load_all((LAUNCH / "serve-deployment.yaml").read_text()))
    return {document["kind"]: document for document in documents}


def test_the_deployment_has_the_published_fields() -> None:
    documents = deployed()
    assert {(one["apiVersion"], one["kind"]) for one in documents.values()} == set(SPECS)
    for document in documents.values():
        metadata = {"name!": str, "labels": dict, "annotations": dict}
        shape = {
            "apiVersion!": str,
            "kind!": str,
            "metadata!": metadata,
            "spec!": SPECS[document["apiVersion"], document["kind"]],
        }
        fields(document, shape, document["kind"])


def test_its_parts_name_each_other_and_what_the_service_has() -> None:
    documents = deployed()
    stateful, service = documents["StatefulSet"], documents["Service"]
    labels = stateful["spec"]["template"]["metadata"]["labels"]
    assert stateful["spec"]["selector"]["matchLabels"] == service["spec"]["selector"] == labels
    assert stateful["spec"]["serviceName"] == service["metadata"]["name"]
    (rule,) = documents["Ingress"]["spec"]["rules"]
    assert rule["http"]["paths"][0]["backend"]["service"]["name"] == service["metadata"]["name"]
    scaled = documents["HorizontalPodAutoscaler"]["spec"]
    assert (scaled["scaleTargetRef"]["kind"], scaled["scaleTargetRef"]["name"]) == ("StatefulSet", "jaxrec")
    (metric,) = scaled["metrics"]
    assert f"\n{metric['pods']['metric']['name']} 7.0" in Monitor(1, lambda: 7).text().decode()
    assert int(metric["pods"]["target"]["averageValue"]) < ServeConfig().queue  # it grows before requests are refused
    pod = stateful["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > ServeConfig().grace_seconds
    (container,) = pod["containers"]
    volumes = [*pod["volumes"], *(one["metadata"] for one in stateful["spec"]["volumeClaimTemplates"])]
    assert {one["name"] for one in container["volumeMounts"]} == {one["name"] for one in volumes}
    mounted = {one["mountPath"] for one in container["volumeMounts"]}
    assert f"/state/{KEYS}" in mounted and VARIABLE in {one["name"] for one in container["env"]}
    port = container["ports"][0]
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        get = container[name]["httpGet"]
        assert get["port"] == port["name"] and get["path"] in openapi(ServeConfig())["paths"]
    start = container["startupProbe"]
    assert start["periodSeconds"] * start["failureThreshold"] >= 300  # to compile


def test_the_container_starts_the_service_with_words_that_the_command_takes() -> None:
    lines = (LAUNCH / "serve.Dockerfile").read_text().replace("\\\n", " ").splitlines()
    steps = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    assert steps[0][0] == "FROM" and all(re.fullmatch(r"[A-Z]+", name) for name, _ in steps)
    said = dict(steps)
    entry, usual = json.loads(said["ENTRYPOINT"]), json.loads(said["CMD"])
    (container,) = deployed()["StatefulSet"]["spec"]["template"]["spec"]["containers"]
    for words in (usual, container["args"], ["/runs/demo", "--new-key", "shop"]):
        options = parse([*entry[1:], *words])
        assert entry[0] == "jaxrec" and (options.run, options.state, options.host) == (
            "/runs/demo",
            "/state",
            "0.0.0.0",
        )
    assert int(options.port) == int(said["EXPOSE"]) == container["ports"][0]["containerPort"]
    assert said["USER"] == str(deployed()["StatefulSet"]["spec"]["template"]["spec"]["securityContext"]["runAsUser"])
    for name, rest in steps:
        if name == "COPY":
            *sources, _ = shlex.split(rest)
            assert all((ROOT / source).exists() for source in sources)
    assert Path(ROOT / "pyproject.toml").read_text().count("\nserve = [") == 1  # the extra that is installed
