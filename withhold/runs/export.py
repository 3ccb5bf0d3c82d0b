"""Export of encoders and embeddings."""

import json
import logging
import warnings
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import torch
from torch import nn

from withhold import kinds
from withhold.errors import UsageError, WithholdError, suggestion
from withhold.files import MARK, claiming, writing
from withhold.methods import Classifier
from withhold.runs.metadata import KEY, describe, write_weights
from withhold.runs.run import Run

log = logging.getLogger("withhold")

TOLERANCE = 1e-3


def export(run: Run, to: str, path: Path) -> float:
    """Write the run's encoder to `path` as "onnx" or "safetensors", with the metadata of `metadata.describe`.

    The ONNX network takes any number of items at once, of the run's size and length: images float [n, c, h, w] in
    [0, 1], videos [n, t, c, h, w], sounds [n, s] in [-1, 1], or texts int64 [n, l], token numbers of the run's
    tokenizer.json, padded with 0. It returns their "features" [n, dim], and for a classifier also the "scores" [n, k],
    whose softmax gives the probabilities.

    Returns the largest difference from the trained network's output, in standard deviations of that output.

    Raises:
        UsageError: an unknown format, ONNX for a kind of data that has no ONNX export, or a file that must not be
            replaced.
        WithholdError: the written network disagrees with the trained one, or the packages for ONNX are missing.
    """
    if to not in ("onnx", "safetensors"):
        raise UsageError(f"There is no format {to!r}: {suggestion(to, ['onnx', 'safetensors'])}")
    about = describe(run.config, run.cls, run.encoder)
    with claiming(path, f".{to}"):
        if to == "onnx":
            return _write_onnx(run, path, about)
        write_weights(path, run.encoder, about, software=MARK)
        return 0.0


def _write_onnx(run: Run, path: Path, about: dict[str, Any]) -> float:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  (what torch's exporter needs)
    except ImportError as error:
        raise WithholdError("ONNX needs more packages: pip install 'withhold[onnx]'.") from error
    kind, shape = kinds.of(run.encoder.kind), inputs(run)["shape"][1:]
    network: nn.Module = run.encoder if run.classifier is None else WithScores(run.classifier)
    items, other = (kind.noise(run.encoder, [n, *shape], torch.Generator().manual_seed(n)) for n in (3, 5))
    with torch.inference_mode():
        expected = network(other)
    log.info("writing the network as ONNX and comparing it with the trained one")
    with writing(path) as partial:
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program: Any = torch.onnx.export(
                network, (items,), input_names=[inputs(run)["name"]],
                output_names=["features", *["scores"] * run.names_classes],
                dynamic_shapes=({0: torch.export.Dim("n")},), dynamo=True, verbose=False,
            )  # fmt: skip
        program.model.doc_string = MARK
        program.model.metadata_props[KEY] = json.dumps(about)
        program.save(str(partial), external_data=False)
        session = onnxruntime.InferenceSession(str(partial), providers=["CPUExecutionProvider"])
        found = map(torch.from_numpy, session.run(None, {inputs(run)["name"]: other.numpy()}))
        pairs = zip(found, expected if isinstance(expected, tuple) else [expected], strict=True)
        differences = [((a - b).abs().max() / b.std().clamp_min(1e-12)).item() for a, b in pairs]
        difference = max(differences)
        if not all(each < TOLERANCE for each in differences):  # also if one is NaN
            raise WithholdError(
                f"The ONNX network differs from the trained one by {difference:.1e} standard deviations. Nothing was "
                "written."
            )
    return difference


class WithScores(nn.Module):
    """Items -> their features and class scores."""

    def __init__(self, classifier: Classifier):
        super().__init__()
        self.classifier = classifier

    def forward(self, items):
        return self.classifier.encoder(items), self.classifier.classify(items)


def inputs(run: Run) -> dict[str, Any]:
    """The input of an ONNX encoder: its name, shape, values and preparation.

    Raises:
        UsageError: encoders of this kind have no ONNX export.
    """
    kind = kinds.of(run.encoder.kind)
    if kind.input is None:
        raise UsageError(f"There is no ONNX export for encoders of {run.encoder.kind}. Use --to safetensors.")
    return kind.inputs(run.config["decoding"])[0]


def write_table(path: Path, table: pyarrow.Table) -> None:
    """Write `table` as parquet to `path`, atomically."""
    marked = table.replace_schema_metadata({**(table.schema.metadata or {}), "software": MARK})
    with writing(path) as partial:
        pyarrow.parquet.write_table(marked, partial, compression="zstd")
