"""What `jaxrec tune` and `jaxrec distill` have in common."""

import dataclasses
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import jax
from jax.sharding import Mesh

from jaxrec.checks import InputError
from jaxrec.cli import experiment, runtime
from jaxrec.config.load import load_config, to_dict, to_yaml
from jaxrec.config.schema import Config
from jaxrec.data.item_text import texts_without
from jaxrec.data.pseudonyms import check_key_outside
from jaxrec.encoder import Encoder, open_encoder
from jaxrec.sharding.mesh import DATA, make_mesh
from jaxrec.storage.run import RunFolder
from jaxrec.types import Params

Folder = TypeVar("Folder", bound=RunFolder)


class Begun(NamedTuple, Generic[Folder]):
    """What a command has checked and opened before its work."""

    config: Config
    run: Folder
    mesh: Mesh
    corpus: experiment.Corpus


def begin(
    kind: type[Folder], section: str, config_path: str, overrides: list[str], run_path: str | None, resume: bool
) -> Begun[Folder]:
    """Read the recipe and its log and open the folder; all that can be refused early is."""
    config = load_config(Config, config_path, overrides)
    data = experiment.log_config(config)
    path = run_path or f"runs/{Path(config_path).stem}"
    check_key_outside(data, Path(path))
    if config.encoder.weights != "float32":
        raise InputError(f"encoder.weights: {config.encoder.weights} cannot be trained; set it to float32 here.")
    mesh, batch = make_mesh(config.train.devices), getattr(config, section).batch_size
    if batch % mesh.shape[DATA]:
        raise InputError(f"{section}.batch_size: {mesh.shape[DATA]} devices do not divide {batch}.")
    run = _resumed(kind, config, section, path) if resume else kind.create(path, to_yaml(config))
    runtime.prepare()
    print(f"run {run.path} on {runtime.describe_devices()}")
    return Begun(config, run, mesh, experiment.read_corpus(config))


def _resumed(kind: type[Folder], config: Config, section: str, path: str) -> Folder:
    """Open a folder that was made by the same recipe."""
    run = kind.open(path)
    before = load_config(Config, run.config)
    for name in ("seed", "data", "encoder", section):
        if to_dict(getattr(before, name)) != to_dict(getattr(config, name)):
            raise InputError(
                f"{run.config}: `{name}` was another; resume with `jaxrec {section} {run.config} --run {run.path} "
                "--resume`, or begin another run with --run."
            )
    return run


def token_variants(config: Config, section: str, corpus: experiment.Corpus, enc: Encoder) -> list[list[list[int]]]:
    """Token ids of the catalogue's texts as training reads them, whole and then without each of their fields."""
    fit = getattr(config, section)
    catalogue, template = corpus.dataset.catalogue, experiment.log_config(config).text
    texts = [list(catalogue.texts)]
    if fit.field_dropout:
        if len(catalogue.fields) < 2:
            raise InputError(
                f"{section}.field_dropout: {template!r} has one field, which cannot be left out; set it to 0."
            )
        texts += [texts_without(catalogue, template, field) for field in catalogue.fields]
    if fit.max_length:
        enc = open_encoder(dataclasses.replace(config.encoder, model=str(enc.folder), max_length=fit.max_length))
    return [enc.tokenize([enc.prompt + text for text in some]) for some in texts]


def size_of(params: Params) -> int:
    """How many numbers they are."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
