"""Claim: CycleGAN's translations of digits are read rightly by a classifier that knows only the domain they are now of.

    python benchmarks/claims/translation.py DATA [--epochs 6] [--seed 0]

DATA holds the folders mnist and usps. The two domains are shown without labels and without pairs. USPS's digits, which
fill their images, are given the margins of MNIST's: another size is what CycleGAN does not learn (Zhu et al., ICCV
2017, under limitations). A classifier that was trained on USPS with labels then reads the test images of MNIST, as they
are and translated; beside them stand what translations of an untrained generator are worth, and the true test images of
USPS. The error of the cycle is given at its beginning and end. Results go to benchmarks/results/translation.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))
from record import cpu_minutes, record

import withhold
from withhold import data, methods, views
from withhold.nets import frozen

SIZE, MOST = 32, 2000


def load(root: Path, domain: str, part: str) -> data.Samples:
    if domain == "mnist":
        return data.load(f"{root / domain}::{part}", size=SIZE, channels=1)
    digits = data.load(f"{root / domain / 'usps.npz'}::{part}", size=16, channels=1)
    framed = np.pad(digits.array, ((0, 0), (3, 3), (3, 3), (0, 0)))  # 16 of 22 pixels, as MNIST's have 20 of 28
    return data.load((framed, digits.labels), size=SIZE, channels=1)


def read(classifier: methods.Classifier, images: torch.Tensor, labels: torch.Tensor) -> float:
    """The share of images float [n, c, h, w] in [0, 1] that the classifier names rightly."""
    with frozen(classifier):
        said = torch.cat([classifier.classify(part).argmax(1) for part in images.split(500)])
    return (said == labels).float().mean().item()


def asking(samples: data.Samples) -> tuple[torch.Tensor, torch.Tensor]:
    """The first test images, as networks take them, and their labels."""
    return views.to_float(samples.batch(range(MOST))), torch.as_tensor(samples.labels[:MOST])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--epochs", type=float, default=6)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    first, second, asked, known = (
        load(options.data, domain, part) for part in ("train", "test") for domain in ("mnist", "usps")
    )
    with tempfile.TemporaryDirectory() as folder:
        teacher = withhold.train(
            "dann",
            second,
            second,
            encoder="convnet",
            epochs=6,
            seed=options.seed,
            out=Path(folder) / "reader",
            weight=0.0,
        )
        some = first.select(torch.randperm(len(first), generator=torch.Generator().manual_seed(0))[: len(second)])
        began = cpu_minutes()
        run = withhold.train(
            "cyclegan", some, second, encoder="convnet", epochs=options.epochs, seed=options.seed, flip=0.0,
            out=Path(folder) / "run",
        )  # fmt: skip
        minutes = cpu_minutes() - began
        reader = teacher.method
        assert isinstance(reader, methods.Classifier)
        images, labels = asking(asked)
        with torch.inference_mode():
            made = torch.cat([run.apply(part)["translated"] for part in asked.batch(range(MOST)).split(250)])
            fresh = methods.find("cyclegan")(run.untrained()).to_second(images)
        rows = run.rows()
        found = {
            "seed": options.seed, "epochs": options.epochs, "steps": run.config["outcome"]["steps"],
            "training_cpu_minutes": round(minutes, 2), "n_test": len(images),
            "true images of the target": read(reader, *asking(known)),
            "source as it is": read(reader, images, labels),
            "translated": read(reader, made, labels),
            "translated, untrained": read(reader, fresh, labels),
            "cycle error": [rows[0]["generators/cycle"], rows[-1]["generators/cycle"]],
            "change": rows[-1]["generators/change"],
            "discriminators' accuracy": rows[-1]["discriminators/accuracy"],
        }  # fmt: skip
        record(f"translation/mnist-usps-{options.seed}", found, run, some, second)
    print(found, flush=True)


if __name__ == "__main__":
    main()
