"""Style transfer between photographs and paintings of PACS with several encoders: errors, and a picture of the results.

    python benchmarks/style.py

Each of three photographs gets the style of each of two paintings. A picture's style and content are also judged by
EfficientNet-Lite0 with pretrained weights, whichever encoder made it. WITHHOLD_DATA names the folder of datasets.
"""

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import RESULTS, cpu_minutes, record
from torch import Tensor

import withhold
from withhold import data, nets
from withhold.answers import style
from withhold.evaluation import plain_batches
from withhold.nets import ImageEncoder
from withhold.pictures import grid

SIZE, STEPS, WEIGHT, EPOCHS = 160, 100, 5.0, 5
CONTENTS, STYLES = (40, 500, 900), (300, 800)
"""Rows of the photographs and of the paintings."""


def images(root: Path, name: str, rows: tuple[int, ...]) -> list[Tensor]:
    """Images of PACS at these rows, uint8 [c, h, w]."""
    samples = data.load(root / "pacs" / f"{name}.parquet", size=SIZE, channels=3)
    return list(samples.batch(np.array(rows)))


def encoders(root: Path, folder: Path) -> dict[str, ImageEncoder]:
    """Encoders by title; one learned for a minute from the photographs, without labels."""
    torch.manual_seed(0)
    run = withhold.train(
        "simclr", root / "pacs" / "photo.parquet", encoder="convnet", size=64, epochs=EPOCHS, out=folder, no_report=True
    )
    large = {"size": SIZE, "channels": 3}
    random = nets.build("efficientnet-lite0", **large), nets.build("convnet", size=64, channels=3)
    for encoder in random:
        nets.refresh_statistics(encoder, plain_batches(run.streams(), torch.device("cpu")))
    return {
        "efficientnet-lite0, pretrained": nets.build("efficientnet-lite0", **large, pretrained=True),
        "efficientnet-lite0, random": random[0],
        "convnet, after simclr": run.encoder,
        "convnet, random": random[1],
    }


def judged(judge: ImageEncoder, picture: Tensor, content: Tensor, goal: Tensor) -> dict[str, float]:
    """The errors of style and content of a picture float [c, h, w], by an encoder."""
    count = len(judge.stages())
    places = torch.linspace(0, count - 1, style.STAGES).round().int().unique().tolist()
    found, own, other = (style.maps(judge, each, [*places, round(0.75 * (count - 1))]) for each in
                         (picture[None], style.scaled(content, SIZE, 3), style.scaled(goal, SIZE, 3)))  # fmt: skip
    apart = [style.relative(style.gram(a), style.gram(b)) for a, b in zip(found[:-1], other[:-1], strict=True)]
    return {"style": torch.stack(apart).mean().item(), "content": style.relative(found[-1], own[-1]).item()}


def apart(encoder: ImageEncoder, picture: Tensor, content: Tensor) -> float:
    """The mean squared difference of two images' features at the stage of the content."""
    middle = round(0.75 * (len(encoder.stages()) - 1))
    (drawn,), (other,) = (style.maps(encoder, image[None], [middle]) for image in (picture, content))
    return (drawn - other).square().mean().item()


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    torch.set_num_threads(1)
    root, rows, columns = Path(os.environ["WITHHOLD_DATA"]), [], {}
    contents, goals = images(root, "photo", CONTENTS), images(root, "art_painting", STYLES)
    pairs = [(content, goal) for content in range(len(contents)) for goal in range(len(goals))]
    columns["content"] = [shown(contents[content]) for content, _ in pairs]
    columns["style"] = [shown(goals[goal]) for _, goal in pairs]
    with tempfile.TemporaryDirectory() as folder:
        found = encoders(root, Path(folder) / "run")
    judge = next(iter(found.values())).eval()
    for title, encoder in found.items():
        began, each, drawn = cpu_minutes(), [], []
        for content, goal in pairs:
            errors: list[tuple[float, float]] = []
            note: Callable[[float, float], None] = lambda *both, errors=errors: errors.append(both)
            picture = style.stylize(
                encoder, contents[content], goals[goal], size=SIZE, steps=STEPS, weight=WEIGHT, report=note
            )
            with torch.no_grad():
                before = judged(
                    encoder.eval(), style.scaled(contents[content], SIZE, 3)[0], contents[content], goals[goal]
                )
                others = [apart(encoder, picture, shown(other)) for other in contents]
                by_judge = judged(judge, picture, contents[content], goals[goal])
            drawn.append(picture)
            each.append({
                "style before": before["style"], "style after": errors[-1][1], "content": errors[-1][0],
                "loss fell": errors[-1][0] + WEIGHT * errors[-1][1] < WEIGHT * before["style"],
                "nearest content is its own": int(np.argmin(others)) == content,
                "judged style": by_judge["style"], "judged content": by_judge["content"],
            })  # fmt: skip
        columns[title] = drawn
        rows.append({"encoder": title, **means(each), "cpu_minutes": round(cpu_minutes() - began, 2)})
        print(rows[-1], flush=True)
    with torch.no_grad():
        plain = [judged(judge, shown(contents[c]), contents[c], goals[g]) for c, g in pairs]
    rows.append({"encoder": "the photographs", "judged style": means(plain)["style"], "judged content": 0.0})
    grid({title: torch.stack(column) for title, column in columns.items()}).save(RESULTS / "style.webp", quality=80)
    record("style", {"steps": STEPS, "weight": WEIGHT, "size": SIZE, "pairs": len(pairs), "rows": rows})


def shown(image: Tensor) -> Tensor:
    """An image float [c, h, w] at the size of the results."""
    return style.scaled(image, SIZE, 3)[0]


def means(rows: list[dict[str, Any]]) -> dict[str, float]:
    """The mean of each entry."""
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


if __name__ == "__main__":
    main()
