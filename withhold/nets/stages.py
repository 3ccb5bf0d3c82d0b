"""Outputs of the stages of an image encoder."""

from typing import Any

from torch import Tensor, nn

from withhold.errors import UsageError
from withhold.nets.encoder import ImageEncoder


def stage_outputs(encoder: ImageEncoder, images: Tensor) -> tuple[list[Any], Tensor]:
    """The raw output of each stage for images float [n, c, h, w], None for stages that did not run; and the maps."""
    found: dict[nn.Module, Any] = {}
    ends = [next((part for part in reversed(stage) if isinstance(part, nn.Module)), None) for stage in encoder.stages()]
    hooks = [end.register_forward_hook(lambda end, _, out: found.update({end: out})) for end in ends if end is not None]
    try:
        maps = encoder.maps(images)
    finally:
        for hook in hooks:
            hook.remove()
    return [None if end is None else found.get(end) for end in ends], maps


def as_maps(output: Any, maps: Tensor) -> Tensor | None:
    """A stage's output as maps [n, d, h, w]; None if it has another form.

    The last tokens of [n, l, d] fill the grid of the encoder's `maps`; earlier ones, such as class tokens, are dropped.
    """
    if not isinstance(output, Tensor):
        return None
    rows, columns = maps.shape[2:]
    if output.ndim == 3 and output.shape[1] >= rows * columns:
        return output[:, -rows * columns :].transpose(1, 2).unflatten(2, (rows, columns))
    lying = output.ndim == 4 and output.shape[1] == output.shape[2] != output.shape[3]  # channels last
    return output if output.ndim == 4 and not lying else None


def maps_at(encoder: ImageEncoder, images: Tensor, stage: int | None = None) -> Tensor:
    """The maps [n, d, h, w] of a stage, counted from 1 at the input; by default the encoder's own, which are the last.

    Raises:
        UsageError: there is no such stage, or it gives no maps.
    """
    if stage is None:
        return encoder.maps(images)
    count = len(encoder.stages())
    if not 1 <= stage <= count:
        raise UsageError(f"The encoder has {count} stages, but no stage {stage}. Give a number from 1 to {count}.")
    outputs, maps = stage_outputs(encoder, images)
    found = as_maps(outputs[stage - 1], maps)
    if found is None:
        raise UsageError(f"Stage {stage} of the encoder gives no maps. Choose another one of its {count} stages.")
    return found
