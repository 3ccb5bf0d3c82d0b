"""Randomness as a function of (seed, step, rank)."""

import random
from typing import Any

import numpy as np
import torch

from withhold.methods import Method


def mix(seed: int, step: int, rank: int) -> int:
    """One seed from three, well apart for neighbouring values (the mixing step of splitmix64)."""
    mixed = (seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + rank * 0x94D049BB133111EB) & (2**64 - 1)
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
    return (mixed ^ (mixed >> 31)) >> 1


def prepare(method: Method, streams: dict[str, Any], seed: int) -> None:
    """Let the method look at its data, as a function of `seed` whatever it calls for that.

    Libraries draw from global generators: k-means of scikit-learn from numpy's, `nn.init` from torch's. All are seeded,
    and afterwards in the state in which they were. What the method registers moves to its device.
    """
    device = next(method.parameters()).device
    method.seed(seed)
    states = random.getstate(), np.random.get_state()  # noqa: NPY002 (others draw from it)
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            method.prepare(**streams)
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
    method.to(device)
