"""The base class: the random generator of a method is where its parameters are."""

import torch

from withhold import nets
from withhold.methods import base
from withhold.methods.image.rotation import Rotation


def test_the_random_generator_moves_with_the_parameters(monkeypatch):
    """Before a training's first step, too: `prepare` draws on the device (here one without a generator of its own)."""

    class Generator:
        def __init__(self, device="cpu"):
            self.device, self.seed = torch.device(device), 0

        def manual_seed(self, seed):
            self.seed = seed
            return self

        def initial_seed(self):
            return self.seed

    monkeypatch.setattr(base.torch, "Generator", Generator)
    method = Rotation(nets.build("convnet", size=16, channels=3))
    method.seed(7)
    same = method.rng
    assert method.double().rng is same
    assert (method.to("meta").rng.device.type, method.rng.seed) == ("meta", 7)
