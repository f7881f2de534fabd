"""Data sets that tests prepare through TFDS itself; builders must live in a module that can be imported."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

GENRES = ["Action", "Comedy", "(no genres listed)"]


class Generated(tfds.core.GeneratorBasedBuilder):
    """Rows that a test sets, under the features of a subclass."""

    VERSION = tfds.core.Version("1.0.0")
    rows: Sequence[dict[str, Any]] = ()

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        yield from enumerate(self.rows)


class VisitLog(Generated):
    """A log of plain types, with a list and labels among its features."""

    def _info(self):
        features = {
            "user": np.str_,
            "item": np.int64,
            "time": np.int64,
            "stars": np.float32,
            "seen": np.bool_,
            "mood": tfds.features.ClassLabel(names=["bad", "good"]),
            "tags": tfds.features.Sequence(np.str_),
        }
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))


class FilmRatings(Generated):
    """Ratings under the names and types of movielens/*-ratings."""

    def _info(self):
        features = {"movie_id": np.str_, "user_id": np.str_, "user_rating": np.float32, "timestamp": np.int64}
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))


class FilmTexts(Generated):
    """Films under the names and types of movielens/*-movies: genres are numbers of words."""

    def _info(self):
        genres = tfds.features.Sequence(tfds.features.ClassLabel(names=GENRES))
        features = {"movie_id": np.str_, "movie_title": np.str_, "movie_genres": genres}
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))
