"""A page of the activations of each stage of an image encoder, and of class activation maps."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import torch
from torch import Tensor
from torch.nn import functional as F

from withhold import evaluation, views
from withhold.data import Samples
from withhold.methods import Classifier
from withhold.nets import ImageEncoder
from withhold.page import cell, render
from withhold.pictures import to_image
from withhold.report.excitation import Stage, box, causes, class_maps, differing, excite, field, guided, purity
from withhold.training import defaults

TEMPLATE = Path(__file__).with_name("look.html.jinja")
STAGES, CHANNELS, PATCHES, CLASSES, SURE, TILE = 6, 8, 9, 20, 6, 64


def write_look(
    path: Path,
    name: str,
    encoder: ImageEncoder,
    samples: Samples,
    classifier: Classifier | None = None,
    report: Callable[[int], None] = lambda images: None,
) -> dict[str, Any]:
    """Write the page to `path` and return its numbers: channels, receptive field and purity of each stage.

    The page shows up to six stages, evenly spread. For each it shows the eight channels that vary most over the images,
    each with the nine images of its largest values, cropped to the receptive field, and their gradients. For a
    classifier, it shows the six images with the highest probability of each of up to twenty classes, with class maps.

    Args:
        name: name of the encoder.
        report: called with the number of images processed.
    """
    encoder = copy.deepcopy(encoder).to(defaults.device()).eval()
    classifier = None if classifier is None else copy.deepcopy(classifier).to(defaults.device()).eval()
    stages = [_stage(encoder, stage, samples, report) for stage in excite(encoder, samples, STAGES, report)]
    classes = [] if classifier is None else _classes(classifier, samples)
    with guided(encoder) as rectified:
        gradient = "guided gradient" if rectified else "gradient"
    render(
        path, TEMPLATE, name=name, stages=stages, classes=classes, count=len(samples), source=samples.source,
        gradient=gradient, labelled=samples.labels is not None, side=encoder.size,
    )  # fmt: skip
    kept = ("number", "shape", "field", "purity")
    return {
        "stages": [
            {part: stage[part] for part in kept} | {"channels": [row["channel"] for row in stage["rows"]]}
            for stage in stages
        ],
        "classes": [one["name"] for one in classes],
    }


def _stage(encoder: ImageEncoder, stage: Stage, samples: Samples, report: Callable[[int], None]) -> dict[str, Any]:
    spans, rows, pure = field(encoder, stage), [], []
    for channel in differing(stage.maxima, CHANNELS):
        strength, images = stage.maxima[:, channel].topk(min(PATCHES, len(samples)))
        places = stage.places[images, channel]
        pixels = views.to_float(samples.batch(images.cpu().numpy())).to(places.device)
        why = causes(encoder, stage, channel, pixels, places)
        boxes = [box(stage, place, spans, encoder.size) for place in places.tolist()]
        found = zip(pixels, why, boxes, strict=True)
        patches, reasons = zip(*[(shown[:, y, x], slope[:, y, x]) for shown, slope, (y, x) in found], strict=True)
        rows.append({"channel": channel, "strength": f"{strength[0]:.3g}"})
        rows[-1] |= {"patches": _strip(patches), "reasons": _strip([_grey(reason) for reason in reasons])}
        if samples.labels is not None:
            labels = torch.from_numpy(samples.labels)[images.cpu()]
            pure += [purity(labels)] if (labels >= 0).sum() > 1 else []
        report(len(images))
    return {
        "number": stage.number, "shape": stage.shape, "rows": rows, "field": spans[0].end - spans[0].start,
        "purity": sum(pure) / len(pure) if pure else None,
    }  # fmt: skip


def _classes(classifier: Classifier, samples: Samples) -> list[dict[str, Any]]:
    """For each class, the images with its highest probability and their class activation maps."""
    scores = evaluation.scores(classifier, samples, device=next(classifier.parameters()).device).softmax(1)
    found = []
    for number, name in enumerate(classifier.classes[:CLASSES]):
        shares, images = scores[:, number].topk(min(SURE, len(samples)))
        pixels = views.to_float(samples.batch(images.numpy())).to(next(classifier.parameters()).device)
        maps = class_maps(classifier, pixels, torch.full((len(images),), number, device=pixels.device))
        if maps is not None:
            painted = [_heat(image, heat) for image, heat in zip(pixels, maps, strict=True)]
            found.append({"name": name, "share": f"{shares[0]:.0%}", "images": _strip(pixels), "maps": _strip(painted)})
    return found


def _strip(images: Any) -> dict[str, Any]:
    """Images [c, h, w] side by side, each enlarged or shrunk to a tile, for the page."""
    tiles = [F.interpolate(image[None].float(), (TILE, TILE), mode="nearest-exact")[0] for image in images]
    gap = torch.ones(len(tiles[0]), TILE, 4)
    return cell(to_image(torch.cat([part for tile in tiles for part in (tile.cpu(), gap)][:-1], dim=2)), len(tiles))


def _grey(slope: Tensor) -> Tensor:
    """A gradient [c, h, w] as a picture: grey where it is zero."""
    return 0.5 + 0.5 * slope / slope.abs().flatten().quantile(0.99).clamp(min=1e-12)


def _heat(image: Tensor, heat: Tensor) -> Tensor:
    """An image [c, h, w] in grey, overlaid with the colours of a map [h, w] in [0, 1]."""
    colours = torch.from_numpy(matplotlib.colormaps["inferno"](heat.cpu().numpy())[..., :3]).movedim(2, 0)
    return (0.5 * views.with_channels(image[None].cpu(), 1)[0] + 0.5 * colours).float()
