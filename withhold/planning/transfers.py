"""Transfers: a small head learns a target from frozen features."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from withhold.nets import ImageEncoder
from withhold.planning.tasks import Truth
from withhold.training import defaults

WIDTH, BATCH, LR, DECAY = 64, 64, 2e-3, 1e-2


class Readout(nn.Module):
    """Maps [n, dim, g, g] -> predictions for items [n, d] or pixels [n, d, h, w], by two convolutions.

    It is small, so that its error depends on the features: a larger head could learn the target from any features.

    Args:
        dim, grid: channels of the maps, and cells along a side.
    """

    def __init__(self, dim: int, grid: int, truth: Truth):
        super().__init__()
        self.size = truth.size
        self.scale = math.ceil(truth.size / grid) or 1
        self.layers = nn.Sequential(
            nn.Conv2d(dim, WIDTH, 3, padding=1), nn.ReLU(), nn.Conv2d(WIDTH, truth.outputs * self.scale**2, 1)
        )

    def forward(self, maps: Tensor) -> Tensor:
        said = self.layers(maps)
        if not self.size:
            return said.mean((2, 3))
        return F.pixel_shuffle(said, self.scale)[..., : self.size, : self.size]


class Scratch(nn.Module):
    """The control: an encoder and a head, trained together."""

    def __init__(self, encoder: ImageEncoder, truth: Truth):
        super().__init__()
        self.encoder, self.readout = encoder, Readout(encoder.dim, encoder.grid, truth)

    def forward(self, images: Tensor) -> Tensor:
        return self.readout(self.encoder.maps(images))


def reader(maps: Tensor, truth: Truth, seed: int) -> Readout:
    """A head for maps [n, dim, g, g], initialised with `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Readout(maps.shape[1], maps.shape[2], truth)


def standardize(few: Tensor, held: Tensor) -> tuple[Tensor, Tensor]:
    """Maps [n, dim, g, g] and [m, dim, g, g], each channel standardised to mean 0 and deviation 1 over the first."""
    deviation, mean = torch.std_mean(few.float(), (0, 2, 3), correction=0, keepdim=True)
    deviation = torch.where(deviation > 1e-6 * mean.abs(), deviation, 1.0)
    return (few.float() - mean) / deviation, (held.float() - mean) / deviation


def learn(network: nn.Module, inputs: Tensor, truth: Truth, steps: int, seed: int) -> None:
    """Minimise the mean error on inputs [n, ...] by AdamW, with a learning rate that decays to 0."""
    device, rng = defaults.device(), torch.Generator().manual_seed(seed)
    network.to(device).train()
    optimizer = torch.optim.AdamW(network.parameters(), LR, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        rows = torch.randint(len(inputs), (min(BATCH, len(inputs)),), generator=rng)
        some = truth.select(rows)
        loss = Truth(some.values.to(device), some.classes).errors(network(inputs[rows].to(device))).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


@torch.inference_mode()
def judge(network: nn.Module, inputs: Tensor, truth: Truth) -> Tensor:
    """The error of each of the inputs [n, ...], float32 [n] on the CPU."""
    network.eval()
    said = [network(part.to(defaults.device())).float().cpu() for part in inputs.split(4 * BATCH)]
    return truth.errors(torch.cat(said))


def transfer(parts: Sequence[tuple[Tensor, Tensor]], few: Truth, held: Truth, steps: int, seed: int) -> Tensor:
    """The errors [m] on held-out items of a head on the maps of one or several sources.

    Args:
        parts: for each source, the maps of the training items [n, dim, g, g] and of held-out items [m, dim, g, g].
        few, held: their true values.
    """
    inputs, asked = (torch.cat(maps, 1) for maps in zip(*(standardize(*pair) for pair in parts), strict=True))
    network = reader(inputs, few, seed)
    learn(network, inputs, few, steps, seed)
    return judge(network, asked, held)
