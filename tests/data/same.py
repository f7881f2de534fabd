"""What it means that two readers read the same log."""

import dataclasses

import numpy as np

from jaxrec.data import Dataset, Log


def assert_same_dataset(got: Dataset, want: Dataset) -> None:
    """Every array of the logs, the catalogues and the users are equal; only the accounts may differ."""
    for field in dataclasses.fields(Log):
        a, b = getattr(got.log, field.name), getattr(want.log, field.name)
        np.testing.assert_array_equal(a, b, err_msg=field.name)
        assert getattr(a, "dtype", None) == getattr(b, "dtype", None), field.name
    assert got.catalogue == want.catalogue
    assert got.users == want.users
