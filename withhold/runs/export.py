"""Taking an encoder or its embeddings elsewhere."""

import logging
import warnings
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import torch
from safetensors.torch import save
from torch import Tensor, nn

from withhold import kinds
from withhold.errors import UsageError, WithholdError, suggestion
from withhold.files import MARK, claiming, writing
from withhold.runs.run import Run

TOLERANCE = 1e-3


def export(run: Run, to: str, path: Path) -> float:
    """Write the run's encoder to `path` as "onnx" or "safetensors".

    ONNX takes any number of items at once, each as long and as large as the run's: images float [n, c, h, w] in [0, 1],
    videos [n, t, c, h, w], or texts int64 [n, l], the numbers of their tokens in the run's tokenizer.json, 0 behind the
    end. Gives the largest difference to the trained encoder's features, in units of their deviation.

    Raises:
        UsageError: an unknown format, ONNX of an encoder of other data, or a file that is not to be replaced.
        WithholdError: the written encoder does not agree with the trained one, or the packages for ONNX are missing.
    """
    if to not in ("onnx", "safetensors"):
        raise UsageError(f"There is no format {to!r}: {suggestion(to, ['onnx', 'safetensors'])}")
    with claiming(path, f".{to}"):
        if to == "onnx":
            return _write_onnx(run, path)
        write_weights(path, run.encoder, {"software": MARK})
        return 0.0


def _write_onnx(run: Run, path: Path) -> float:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  (what torch's exporter needs)
    except ImportError as error:
        raise WithholdError("ONNX needs more packages: pip install 'withhold[onnx]'.") from error
    encoder = run.encoder
    name = taken(run)[0]
    items, other = noise(run, 3), noise(run, 5)
    with torch.inference_mode():
        expected = encoder(other)
    with writing(path) as partial:
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program: Any = torch.onnx.export(
                encoder, (items,), input_names=[name], output_names=["features"],
                dynamic_shapes=({0: torch.export.Dim("n")},), dynamo=True, verbose=False,
            )  # fmt: skip
        program.model.doc_string = MARK
        program.save(partial, external_data=False)
        session = onnxruntime.InferenceSession(str(partial), providers=["CPUExecutionProvider"])
        found = torch.from_numpy(session.run(None, {name: other.numpy()})[0])
        difference = ((found - expected).abs().max() / expected.std().clamp_min(1e-12)).item()
        if not difference < TOLERANCE:
            raise WithholdError(
                f"The ONNX encoder differs from the trained one by {difference:.1e} deviations: nothing was written."
            )
    return difference


def inputs(run: Run) -> str:
    """What an ONNX encoder takes, in words."""
    name, _, content = taken(run)
    return f"{name} [n, {', '.join(map(str, lengths(run)))}], {content}"


def lengths(run: Run) -> list[int]:
    """The shape of an item that the run's encoder takes."""
    return [run.config["decoding"][length] for length in taken(run)[1]]


def taken(run: Run) -> kinds.Input:
    """What an ONNX encoder takes. Raises: UsageError, where none is written of encoders of the kind."""
    found = kinds.of(run.encoder.kind).input
    if found is None:
        raise UsageError(f"ONNX is not written of encoders of {run.encoder.kind}: --to safetensors.")
    return found


def noise(run: Run, n: int) -> Tensor:
    """What looks like `n` items to the run's encoder."""
    rng = torch.Generator().manual_seed(n)
    return kinds.of(run.encoder.kind).noise(run.encoder, [n, *lengths(run)], rng)


def write_weights(path: Path, module: nn.Module, about: dict[str, str] | None = None) -> None:
    """Write a module's state as safetensors, with what else is to be said `about` it, whole or not at all."""
    # Cloned, because safetensors refuses tensors that share memory; its own way to a file lets no one else read it.
    state = {name: value.detach().cpu().clone().contiguous() for name, value in module.state_dict().items()}
    with writing(path) as partial:
        partial.write_bytes(save(state, about))


def write_table(path: Path, table: pyarrow.Table) -> None:
    """Write `table` as parquet to `path`, whole or not at all."""
    marked = table.replace_schema_metadata({**(table.schema.metadata or {}), "software": MARK})
    with writing(path) as partial:
        pyarrow.parquet.write_table(marked, partial, compression="zstd")
