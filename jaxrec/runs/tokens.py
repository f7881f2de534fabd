"""Semantic ids of a recipe's catalogue: quantise the items' vectors, report, and write a folder."""

import dataclasses
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.checks import InputError, check_name
from jaxrec.config.load import Overrides, to_dict
from jaxrec.config.schema import Config
from jaxrec.data.generated import hidden_tastes
from jaxrec.generate.codes import add_last_code, vocabulary
from jaxrec.generate.quantise import Quantiser, fit_kmeans, quantised, reconstructed
from jaxrec.generate.report import tokens_report
from jaxrec.generate.rqvae import fit_rqvae, latent_size
from jaxrec.generate.saved import Tokens, load_tokens, save_tokens
from jaxrec.progress import note, quiet
from jaxrec.runs.item_table import ItemVectors, embed
from jaxrec.runs.read_log import Corpus, read_corpus
from jaxrec.runs.recipe import Recipe, log_config, read_recipe
from jaxrec.runs.streams import stream
from jaxrec.sharding.compile import compiled
from jaxrec.storage.digests import check_replaces_kind
from jaxrec.storage.lock import one_command
from jaxrec.storage.stage_folders import TOKENS
from jaxrec.version import __version__


@dataclasses.dataclass(frozen=True, kw_only=True)
class MadeTokens:
    """The codes that were written, and their quality."""

    tokens: Tokens
    report: dict[str, Any]
    path: Path
    seconds: float


def make_tokens(recipe: Recipe, output: str | Path, overrides: Overrides = (), *, silent: bool = False) -> MadeTokens:
    """Fit the codes of the recipe's catalogue and write them to the folder `output`.

    Raises InputError, with a one-line message, for bad input.
    """
    with quiet(silent), one_command():
        config = read_recipe(recipe, overrides)
        path = Path(output)
        check_replaces_kind(path, TOKENS)
        corpus = read_corpus(config)
        return write_tokens(config, corpus, path)


def item_vectors(config: Config, corpus: Corpus) -> np.ndarray:
    """What codes are made of: vectors of the texts and of the other features, without statistics of the log."""
    return ItemVectors(embed(config, corpus.dataset.catalogue.texts), corpus.features.blocks).joined.astype(np.float32)


def write_tokens(config: Config, corpus: Corpus, path: Path) -> MadeTokens:
    """Fit codes to the catalogue of a log that is read already, and write them to the folder `path`.

    Raises InputError for settings that do not fit the catalogue, an RQ-VAE that diverges, and a folder that jaxrec did
    not write.
    """
    started = time.perf_counter()
    categories = _categories(config, corpus)  # before anything is computed
    vectors = item_vectors(config, corpus)
    made, fit = fitted(config, vectors), config.tokens
    codes = add_last_code(made.codes)
    sizes = vocabulary(codes, fit.codes)
    report = tokens_report(codes, fit.codes, vectors, made.remade, categories)
    if made.errors is not None:
        report["error_of_kmeans"] = float(made.errors[0])  # in the space of the RQ-VAE, before its first epoch
    catalogue = corpus.dataset.catalogue
    description = {"jaxrec": __version__, "settings": to_dict(fit), "report": report}
    save_tokens(path, made.quantiser, codes, sizes, (catalogue.ids, catalogue.titles), description)
    return MadeTokens(tokens=load_tokens(path), report=report, path=path, seconds=time.perf_counter() - started)


class Fitted(NamedTuple):
    """A quantiser, and what it makes of the vectors [I, E] that it was fitted to."""

    quantiser: Quantiser
    codes: np.ndarray  # [I, L]
    remade: np.ndarray  # [I, E]
    errors: np.ndarray | None  # [epochs + 1] relative errors of an RQ-VAE, from before the first epoch on


def fitted(config: Config, vectors: np.ndarray) -> Fitted:
    """Fit codes to vectors [I, E]; raises InputError for more codes than items, and if the RQ-VAE diverges."""
    fit = config.tokens
    if fit.codes > len(vectors):
        raise InputError(f"tokens.codes: expected at most the {len(vectors)} items of the catalogue, got {fit.codes}.")
    note(f"  {fit.method}: {fit.levels} levels of {fit.codes} codes for {len(vectors):,} items")
    key, x = stream(config, "tokens"), jnp.asarray(vectors, jnp.float32)
    errors = None
    if fit.method == "kmeans":

        def fit_it(key: jax.Array, x: jax.Array) -> Quantiser:
            return fit_kmeans(key, x, fit.levels, fit.codes, fit.steps, fit.balance)

        quantiser = compiled(fit_it)(key, x)
    else:
        fit = dataclasses.replace(fit, latent=fit.latent or latent_size(vectors))
        quantiser, errors = compiled(lambda key, x: fit_rqvae(key, x, fit))(key, x)
        errors = np.asarray(errors)
        if not np.isfinite(errors).all():
            raise InputError("tokens.learning_rate: the RQ-VAE diverged; lower it.")
    codes = np.asarray(compiled(quantised)(quantiser, x).codes)
    return Fitted(quantiser, codes, np.asarray(compiled(reconstructed)(quantiser, x)), errors)


def _categories(config: Config, corpus: Corpus) -> list[str] | None:
    """The category of each item, if the recipe or the generator of the log names one."""
    data, catalogue = log_config(config), corpus.dataset.catalogue
    if config.tokens.category:
        check_name("tokens.category", config.tokens.category, catalogue.fields)
        return list(catalogue.fields[config.tokens.category])
    if data.source == "generated":
        topics = hidden_tastes(data.generated, config.seed).topic
        if list(catalogue.ids) == [str(n + 1) for n in range(len(topics))]:  # cleaning may have left some out
            return [str(topic) for topic in topics]
    return None
