"""Randomness as a function of (seed, step, rank)."""

import random
from typing import Any

import numpy as np
import torch

from withhold.methods import Method


def mix(seed: int, step: int, rank: int) -> int:
    """Mix three numbers into one seed; neighbouring values give unrelated seeds (the mixing step of splitmix64)."""
    mixed = (seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + rank * 0x94D049BB133111EB) & (2**64 - 1)
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
    return (mixed ^ (mixed >> 31)) >> 1


def prepare(method: Method, streams: dict[str, Any], seed: int) -> None:
    """Call the method's `prepare` with its data, reproducibly for a `seed`.

    Libraries draw from global generators: k-means of scikit-learn from numpy's, `nn.init` from torch's. All of them are
    seeded, and their states are restored afterwards. Tensors that the method registers are moved to its device.
    """
    device = next(method.parameters()).device
    method.seed(seed)
    states = random.getstate(), np.random.get_state()  # noqa: NPY002 (libraries draw from it)
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
