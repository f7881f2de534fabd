"""The steps that tuning and distilling an encoder share."""

from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import jax
from jax.sharding import Mesh

from jaxrec.checks import InputError, check_range
from jaxrec.config.load import Overrides, load_config, to_dict, to_yaml
from jaxrec.config.schema import Config
from jaxrec.data.item_text import texts_without
from jaxrec.data.pseudonyms import check_key_outside
from jaxrec.encoder import Encoder
from jaxrec.encoder.load import length_of, tokenize_to
from jaxrec.encoder.tokenize import cut_line, cuts_of
from jaxrec.foreign import quoted
from jaxrec.progress import note
from jaxrec.runs.devices import describe_devices
from jaxrec.runs.half_written import read_account
from jaxrec.runs.read_log import Corpus, read_corpus
from jaxrec.runs.recipe import Recipe, default_folder, log_config, read_recipe
from jaxrec.sharding.mesh import DATA, make_mesh
from jaxrec.storage.files import write_json
from jaxrec.storage.run import RunFolder
from jaxrec.types import Params

Folder = TypeVar("Folder", bound=RunFolder)

SOURCES = "sources.json"  # in a run: digests of its inputs


class Begun(NamedTuple, Generic[Folder]):
    """The checked and opened inputs of a command."""

    config: Config
    run: Folder
    mesh: Mesh
    corpus: Corpus


def begin(
    kind: type[Folder],
    section: str,
    recipe: Recipe,
    overrides: Overrides,
    run_path: str | Path | None,
    resume: bool,
    texts: int = 1,
) -> Begun[Folder]:
    """Read the recipe and its log and open the folder; `texts` is the number of texts per example of the batch.

    Bad input is refused early, while the folder holds only the recipe.
    """
    config = read_recipe(recipe, overrides)
    data = log_config(config)
    path = run_path or default_folder(recipe)
    check_key_outside(data, Path(path))
    if config.encoder.weights != "float32":
        raise InputError(f"encoder.weights: {config.encoder.weights} cannot be trained; set it to float32.")
    fit, mesh = getattr(config, section), make_mesh(config.train.devices)
    if texts * fit.batch_size % mesh.shape[DATA]:
        raise InputError(
            f"{section}.batch_size: {mesh.shape[DATA]} devices do not divide {texts * fit.batch_size} texts."
        )
    if fit.max_length:
        check_range(f"{section}.max_length", fit.max_length, 0, length_of(config.encoder))
    run = _resumed(kind, config, section, path) if resume else kind.create(path, to_yaml(config))
    note(f"run {run.path} on {describe_devices()}")
    corpus = read_corpus(config)
    if fit.field_dropout and len(corpus.dataset.catalogue.fields) < 2:
        raise InputError(
            f"{section}.field_dropout: {quoted(data.text)} has one field, which cannot be left out; set it to 0."
        )
    return Begun(config, run, mesh, corpus)


def check_sources(run: RunFolder, **digests: str) -> None:
    """Write digests of the inputs of the run; on a resume, raise InputError if they have changed."""
    path = run.path / SOURCES
    if not path.is_file():
        write_json(path, digests)
        return
    found = read_account(path)
    if changed := [name for name in digests if found.get(name) != digests[name]]:
        raise InputError(f"{path}: {', '.join(changed)} changed since the run started; start another one with --run.")


def _resumed(kind: type[Folder], config: Config, section: str, path: str | Path) -> Folder:
    """Open the folder to resume; raises InputError if another recipe made it."""
    run = kind.reopen(path)
    before = load_config(Config, run.config)
    for name in ("seed", "data", "encoder", section):
        if to_dict(getattr(before, name)) != to_dict(getattr(config, name)):
            raise InputError(
                f"{run.config}: `{name}` differs; resume with `jaxrec {section} {run.config} --run {run.path} "
                "--resume`, or start another run with --run."
            )
    return run


def token_variants(config: Config, section: str, corpus: Corpus, enc: Encoder) -> list[list[list[int]]]:
    """Token ids of the catalogue's texts as training reads them, whole and then without each of their fields."""
    fit = getattr(config, section)
    catalogue, template = corpus.dataset.catalogue, log_config(config).text
    texts = [list(catalogue.texts)]
    if fit.field_dropout:
        texts += [texts_without(catalogue, template, field) for field in catalogue.fields]
    check_range(f"{section}.max_length", fit.max_length, 0, enc.max_length)  # a student may allow fewer tokens
    tokenize = tokenize_to(enc, fit.max_length) if fit.max_length else enc.tokenize
    variants = [tokenize([enc.prompt + text for text in some]) for some in texts]
    if fit.max_length:
        cut = cuts_of(variants[0])
        note(cut_line(cut, len(catalogue.texts), fit.max_length, f"{section}.max_length, in training", "item text"))
    return variants


def size_of(params: Params) -> int:
    """Number of parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
