"""Stable samples of users: who is in says the id alone."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import xxhash

from headrace.engine.state import Bools
from headrace.plan.model import SampleTest


def sampled(names: pa.Array, test: SampleTest) -> Bools:
    """One bit per user id."""
    salt, number = f"{test.salt}:".encode(), xxhash.xxh64_intdigest
    numbers = [number(salt + name.encode()) % 10_000 for name in names.to_pylist()]
    within: Bools = np.array(numbers, np.int64) < test.below
    return within
