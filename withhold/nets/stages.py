"""What comes out of the stages of an encoder of images."""

from typing import Any

from torch import Tensor, nn

from withhold.errors import UsageError
from withhold.nets.encoder import ImageEncoder


def stage_outputs(encoder: ImageEncoder, images: Tensor) -> tuple[list[Any], Tensor]:
    """What each stage gives of images float [n, c, h, w], as it gives it, None where it did not run; and the maps."""
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
    """A stage's output as maps [n, d, h, w]; None where it is something else.

    Of tokens [n, l, d] the last ones fill the grid of the encoder's `maps`; before them stand those of no place.
    """
    if not isinstance(output, Tensor):
        return None
    rows, columns = maps.shape[2:]
    if output.ndim == 3 and output.shape[1] >= rows * columns:
        return output[:, -rows * columns :].transpose(1, 2).unflatten(2, (rows, columns))
    lying = output.ndim == 4 and output.shape[1] == output.shape[2] != output.shape[3]  # channels come last
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
        raise UsageError(f"The encoder has {count} stages, and no stage {stage}: give a number from 1 to {count}.")
    outputs, maps = stage_outputs(encoder, images)
    found = as_maps(outputs[stage - 1], maps)
    if found is None:
        raise UsageError(f"Stage {stage} of the encoder gives no maps: name another one of its {count}.")
    return found
