"""A minimal method and batches, for tests of the training loop."""

import torch
from torch import nn

from withhold.methods import Method, Optimizer


class Net(nn.Module):
    """Flat inputs [n, 4] -> features [n, 8], with the state and randomness that real networks have."""

    dim = 8

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 8))

    def forward(self, x):
        return self.layers(x)


class Toy(Method):
    """Withholds the sum of each row, of noisy rows."""

    name, paper, needs, family = "toy", "", {"rows": "rows"}, "reconstruct"
    optimizer = Optimizer("sgd", lr=0.1)
    noise = 0.1

    def __init__(self):
        torch.manual_seed(0)
        super().__init__(Net())
        self.head = nn.Linear(8, 1)
        self.register_buffer("seen", torch.zeros(()))

    def withhold(self, rows):
        noise = torch.randn(rows.shape, generator=self.rng, device=rows.device)
        return rows + self.noise * noise, rows.sum(1, keepdim=True)

    def predict(self, visible):
        return self.head(self.encoder(visible))

    def loss(self, predicted, withheld):
        return {"loss": (predicted - withheld).square().mean(), "trivial": withheld.var()}

    def after_step(self):
        self.seen += 1


class Rows:
    """Batches [n, 4] that are a function of the step; of every global batch a rank gets its part."""

    streams = {"rows": None}
    steps_per_epoch = 5

    def __init__(self, batch_size=16, rank=0, world=1):
        self.batch_size, self.rank, self.world = batch_size, rank, world
        self.asked = []

    def batch(self, step):
        everything = torch.randn(self.batch_size * self.world, 4, generator=torch.Generator().manual_seed(step))
        return {"rows": everything[self.rank :: self.world]}

    def iterate(self, start, stop):
        for step in range(start, stop):
            self.asked.append(step)
            yield self.batch(step)
