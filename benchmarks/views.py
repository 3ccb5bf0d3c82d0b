"""SimCLR views per second of withhold, kornia and torchvision, which take turns on the same images.

Libraries that are not installed are left out, and listed.
"""

import argparse
import importlib.util
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault(
    "OMP_WAIT_POLICY", "passive"
)  # otherwise threads that wait for a busy core spin, in every library

import peers
import torch
from record import record
from torch import Tensor

from withhold import views

BATCHES = {32: 256, 96: 64, 224: 16}
"""Batch size by image size. Images above 32 pixels are blurred, as usual."""


def ours(size: int, blur: bool) -> Callable[[Tensor], Tensor]:
    rng = torch.Generator().manual_seed(0)
    chain = {"crop": (0.08, 1.0), "jitter": (0.4, 0.4, 0.4, 0.1), "grey": 0.2, "blur": 0.5 * blur}
    return lambda images: views.augment(images, rng, size=size, **chain)


def rate(view: Callable[[Tensor], Tensor], images: Tensor, threads: int, seconds: float) -> float:
    """Views per second over batches that take `seconds` in total."""
    torch.set_num_threads(threads)
    view(images)
    batches, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < seconds:
        view(images)
        batches += 1
    return batches * len(images) / spent


def measure(size: int, rounds: int, seconds: float, threads: list[int]) -> dict[tuple[str, int], list[float]]:
    """Views per second of each library in each round, by name and threads; the libraries take turns."""
    blur = size > 32
    makers = {"withhold": ours}
    if importlib.util.find_spec("kornia"):
        makers["kornia"] = peers.kornia_simclr
    contenders = {(name, count): make(size, blur) for count in threads for name, make in makers.items()}
    if importlib.util.find_spec("torchvision"):
        contenders["torchvision", 1] = peers.torchvision_simclr(size, blur)
    images = torch.randint(0, 256, (BATCHES[size], size, size, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
    found: dict[tuple[str, int], list[float]] = {contender: [] for contender in contenders}
    for _ in range(rounds):
        for (name, count), view in contenders.items():
            found[name, count].append(rate(view, images, count, seconds))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="repetitions (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=0.7, help="seconds per library and round (default: %(default)s)"
    )
    options = parser.parse_args()
    cores = torch.get_num_threads()
    threads = sorted({1, cores})
    absent = [name for name in ("kornia", "torchvision") if not importlib.util.find_spec(name)]
    print(f"Not installed: {', '.join(absent) or 'none'}.")
    rows = []
    for size in BATCHES:
        found = measure(size, options.rounds, options.seconds, threads)
        for (name, count), rates in found.items():
            # Round by round, so that other load on the machine affects both.
            ahead = statistics.median(a / b for a, b in zip(found["withhold", count], rates, strict=True))
            middle, low, high = round(statistics.median(rates)), round(min(rates)), round(max(rates))
            blur = " blur" if size > 32 else ""
            print(f"{size:4} px{blur:5}  {name:12}{count:3} threads{middle:>9,}/s ({low:,} to {high:,}){ahead:8.2f}x")
            rows.append(
                {"size": size, "blur": size > 32, "contender": name, "threads": count, "views_per_second": middle}
            )
            rows[-1] |= {"lowest": low, "highest": high, "withhold_is_faster_by": round(ahead, 2)}
    torch.set_num_threads(cores)
    print(record("views", {"absent": absent, "rounds": options.rounds, "rows": rows}))


if __name__ == "__main__":
    main()
