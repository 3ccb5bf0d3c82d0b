"""Small real and synthetic datasets for evaluation."""

import numpy as np
import pytest
import torch

from withhold import data, nets
from withhold.data import Samples
from withhold.evaluation.task import Task


@pytest.fixture
def digits() -> tuple[Samples, Samples]:
    """scikit-learn's digits at their own 8 px: 1,437 to train on and 360 to test on."""
    return data.load("digits", size=8).split(0.2, 0)


@pytest.fixture
def make_samples():
    """Random grey 8 px images with the labels given, as numbers into `classes`."""

    def make(labels, classes=("ant", "bee", "cat"), source="zoo"):
        images = np.random.default_rng(0).integers(0, 256, (len(labels), 8, 8, 1), dtype=np.uint8)
        names = np.array([f"{i}.png" for i in range(len(labels))])
        return Samples(images, names, np.array(labels, dtype=np.int64), classes, source=source)

    return make


@pytest.fixture
def make_task():
    """A task on raw pixels, or on an encoder."""

    def make(train, test, encoder=None, budget=640, **more):
        return Task(encoder, train, test, seed=0, device=torch.device("cpu"), budget=budget, **more)

    return make


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return nets.build("convnet", size=32, channels=1)
