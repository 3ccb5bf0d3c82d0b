"""Taking an encoder or its embeddings elsewhere."""

import logging
import warnings
from pathlib import Path

import pyarrow
import pyarrow.parquet
import torch

from withhold.errors import UsageError, WithholdError, suggestion
from withhold.files import writing
from withhold.runs.run import Run, write_weights

TOLERANCE = 1e-3


def export(run: Run, to: str, path: Path) -> float:
    """Write the run's encoder to `path` as "onnx" (input float [n, c, h, w] in [0, 1]) or "safetensors".

    Gives the largest difference to the trained encoder's features, in units of their deviation.

    Raises:
        UsageError: an unknown format, or ONNX of an encoder that is not of images.
        WithholdError: the written encoder does not agree with the trained one, or the packages for ONNX are missing.
    """
    if to == "safetensors":
        write_weights(path, run.encoder)
        return 0.0
    if to != "onnx":
        raise UsageError(f"There is no format {to!r}: {suggestion(to, ['onnx', 'safetensors'])}")
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  (what torch's exporter needs)
    except ImportError as error:
        raise WithholdError("ONNX needs more packages: pip install 'withhold[onnx]'.") from error
    encoder = run.encoder
    if encoder.kind != "image":
        raise UsageError(f"ONNX is written of encoders of images, and this one is of {encoder.kind}: --to safetensors.")
    size, channels = encoder.size, run.config["decoding"]["channels"]
    images = torch.rand(3, channels, size, size, generator=torch.Generator().manual_seed(0))
    other = torch.rand(5, channels, size, size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = encoder(other)
    with writing(path) as partial:
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                encoder, (images,), str(partial), input_names=["images"], output_names=["features"],
                dynamic_shapes=({0: torch.export.Dim("n")},), dynamo=True, external_data=False, verbose=False,
            )  # fmt: skip
        session = onnxruntime.InferenceSession(str(partial), providers=["CPUExecutionProvider"])
        found = torch.from_numpy(session.run(None, {"images": other.numpy()})[0])
        difference = ((found - expected).abs().max() / expected.std().clamp_min(1e-12)).item()
        if not difference < TOLERANCE:
            raise WithholdError(
                f"The ONNX encoder differs from the trained one by {difference:.1e} deviations: nothing was written."
            )
    return difference


def write_table(path: Path, table: pyarrow.Table) -> None:
    """Write `table` as parquet to `path`, whole or not at all."""
    with writing(path) as partial:
        pyarrow.parquet.write_table(table, partial, compression="zstd")
