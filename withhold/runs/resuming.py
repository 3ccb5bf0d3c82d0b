"""Checks of a resumed training: nothing may change, except a longer budget for a finished run."""

import math
from typing import Any

from withhold.errors import UsageError
from withhold.nets.registry import plain
from withhold.options import Options
from withhold.runs.run import Run

BUDGETS = ("epochs", "minutes")


def planned(options: Options, steps_per_epoch: int, before: Run | None) -> int | None:
    """Return the number of steps; None if the budget is in minutes and the pace is unknown.

    Args:
        before: the run that is resumed. A finished one takes a longer budget, in the same unit as before.
    """
    if options.epochs is not None:
        return max(int(options.epochs > 0), round(options.epochs * steps_per_epoch))
    if before is None:
        return None
    saved = before.config["training"]
    if before.finished and (saved["minutes"] or math.inf) < (options.minutes or 0):
        return round(before.config["outcome"]["steps"] * options.minutes / saved["minutes"])
    return saved["steps"]


def check_same(run: Run, config: dict[str, Any]) -> None:
    """Raises: UsageError: the data or the configuration differ from the run's own. A finished run may get more time."""
    saved, ended = run.config, run.finished
    for part in (
        "withhold", "method", "parameters", "encoder", "decoding", "data", "training", "classes", "targets", "streams"
    ):  # fmt: skip
        before, now = saved[part], config[part]
        pairs = before.items() if isinstance(before, dict) else [(part, before)]
        for name, value in pairs:
            other: Any = now.get(name) if isinstance(now, dict) else now
            if _same(value, other) or name in ("strict", "no_report"):
                continue
            if part == "data" and saved["streams"] == config["streams"]:  # the same data in another place
                continue
            longer = name in BUDGETS and ended and None not in (value, other) and other > value
            if name in ("steps", "most") or longer:
                continue
            if part == "streams":
                raise UsageError(
                    f"The data of the stream {name} have changed since {run.folder} began ({value['items']:,} items "
                    f"then, {other['items']:,} now). Restore them to resume the run, or choose another --out."
                )
            words = name.replace("_", " ")
            told = [" and ".join(one) if one and name == "labels" else one for one in (value, other)]
            said = [f"without {words}" if one is None else f"with {words} {one}" for one in told]
            raise UsageError(
                f"{run.folder} was trained {said[0]}, not {said[1]}. Repeat its own options to resume it, or choose "
                "another --out."
            )


def _same(value: Any, other: Any) -> bool:
    """Whether two values are equal; modules of one class passed as encoders may have different numbers."""
    return value == other or (isinstance(value, str) and isinstance(other, str) and plain(value) == plain(other))
