"""Decision boundaries of each method on two moons of points, eight of them labelled: a figure and accuracies.

    python benchmarks/moons.py                write benchmarks/results/moons.json and moons.webp

A point is an image of one pixel with two channels, so that the methods of images run unchanged: their weak views leave
it as it is, and noise, mixtures and adversarial changes move it. Each method is trained and measured with several
seeds. The accuracy is that of the points without labels.
"""

import argparse

import numpy as np
import torch
from matplotlib.figure import Figure
from record import RESULTS, record
from sklearn.datasets import make_moons
from torch.nn import functional as F

from withhold import methods, nets
from withhold.nets import ImageEncoder

STEPS, SEEDS, BATCH = 1000, 3, 128
NAMES = {
    "labels alone": ("pi_model", {"weight": 0.0, "noise": 0.0}),
    "entropy_minimization": ("entropy_minimization", {}),
    "pi_model": ("pi_model", {"noise": 0.05}),
    "mean_teacher": ("mean_teacher", {"noise": 0.05}),
    "vat": ("vat", {"radius": 0.06}),
    "vat with entropy": ("vat", {"radius": 0.06, "entropy": 1.0}),
    "vadd": ("vadd", {}),
    "sntg": ("sntg", {"noise": 0.05}),
    "ict": ("ict", {}),
    "ict, weight 1": ("ict", {"weight": 1.0}),
}
"""The methods by title, with the parameters other than the defaults; noise and radius suit the scale of the points."""


class Points(ImageEncoder):
    """A perceptron over points, float [n, 2, 1, 1] -> features [n, 100]."""

    def __init__(self):
        super().__init__(dim=100, channels=2, size=1, stride=1)
        self.layers = torch.nn.Sequential(nets.mlp((2, 100, 100), norm=False), torch.nn.ReLU())

    def forward(self, images):
        return self.layers(4 * images.flatten(1) - 2)


def moons(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """1,000 points in the unit square [1000, 2, 1, 1], their moons [1000], and the rows of four labelled of each."""
    places, labels = make_moons(1000, noise=0.1, random_state=seed)
    low, high = places.min(0), places.max(0)
    rng = np.random.default_rng(seed)
    known = np.concatenate([rng.permutation(np.flatnonzero(labels == moon))[:4] for moon in (0, 1)])
    points = torch.tensor(0.1 + 0.8 * (places - low) / (high - low), dtype=torch.float32)[:, :, None, None]
    return points, torch.from_numpy(labels), torch.from_numpy(known)


def trained(name: str, values: dict[str, float], seed: int) -> methods.SemiSupervised:
    """The trained method, by a plain training loop."""
    torch.manual_seed(seed)
    method = methods.build(methods.find(name), Points(), {"flip": 0.0, "momentum": 0.99} | values, {"classes": "ab"})
    points, labels, known = moons(seed)
    optimizer = torch.optim.Adam([part for part in method.parameters() if part.requires_grad], 3e-3)
    for step in range(STEPS):
        method.seed(step)
        method.progress = step / STEPS
        chosen = torch.randperm(len(points))[:BATCH]
        terms = method({"labelled": (points[known], labels[known]), "unlabelled": points[chosen]})
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
        method.after_step()
    return method.eval()


@torch.no_grad()
def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    torch.set_num_threads(1)
    across = torch.linspace(0, 1, 120)
    grid = torch.stack(torch.meshgrid(across, across, indexing="xy"), -1).flatten(0, 1)[:, :, None, None]
    figure, found = Figure(figsize=(15, 6)), {}
    for axes, (title, (name, values)) in zip(figure.subplots(2, 5).flat, NAMES.items(), strict=True):
        accuracies = []
        for seed in range(SEEDS):
            points, labels, known = moons(seed)
            with torch.enable_grad():
                method = trained(name, values, seed)
            rest = torch.ones(len(points), dtype=torch.bool).index_fill(0, known, False)
            accuracies.append((method.classify(points).argmax(1) == labels)[rest].float().mean().item())
            if seed == 0:
                share = F.softmax(method.classify(grid), 1)[:, 1].view(120, 120)
                axes.contourf(across, across, share, levels=10, cmap="RdBu", alpha=0.5)
                axes.contour(across, across, share, levels=[0.5], colors="black", linewidths=1)
                for moon, colour in ((0, "firebrick"), (1, "navy")):
                    axes.scatter(*points[labels == moon].flatten(1).T, s=1, color=colour)
                    axes.scatter(*points[known][labels[known] == moon].flatten(1).T, s=50, color=colour, edgecolor="w")
        found[title] = {"method": name, "settings": values, "accuracies": accuracies}
        axes.set_title(f"{title}: {100 * np.mean(accuracies):.1f}", fontsize=10)
        axes.set_axis_off()
        print(title, [round(value, 4) for value in accuracies], flush=True)
    figure.tight_layout()
    figure.savefig(RESULTS / "moons.webp", dpi=80)
    record("moons", {"steps": STEPS, "points": found})


if __name__ == "__main__":
    main()
