"""Time for log-mel spectrograms of 64 one-second sounds at 16 kHz: withhold (as a batch) and scipy (one by one)."""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from record import record
from scipy import signal
from torch import Tensor

from withhold import views
from withhold.views.sounds import FLOOR, mel_filters

SOUNDS, RATE = 64, 16_000


def ours(sounds: Tensor) -> Tensor:
    return views.log_mel(sounds, RATE)


def scipys(sounds: Tensor) -> np.ndarray:
    filters = mel_filters(RATE, 512, 40, sounds.device).numpy()
    found = []
    for sound in sounds.numpy():
        spectra = signal.stft(sound, RATE, "hann", 400, 240, 512, boundary="zeros", padded=True)[2]
        found.append(np.log(filters @ (4 * np.abs(spectra) ** 2) + FLOOR))
    return np.stack(found)


def milliseconds(function: Callable, sounds: Tensor) -> float:
    start = time.perf_counter()
    function(sounds)
    return 1000 * (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30, help="repetitions (default: %(default)s)")
    options = parser.parse_args()
    cores = torch.get_num_threads()
    sounds = 0.1 * torch.randn(SOUNDS, RATE, generator=torch.Generator().manual_seed(0))
    assert np.abs(scipys(sounds)[:, :, :101] - ours(sounds)[:, 0].numpy()).max() < 1e-3
    rows = []
    contenders = [("withhold", ours, threads) for threads in sorted({1, cores})] + [("scipy", scipys, 1)]
    found: dict[tuple[str, int], list[float]] = {(name, threads): [] for name, _, threads in contenders}
    for _ in range(options.rounds):  # in turns, so that other load on the machine affects all of them
        for name, function, threads in contenders:
            torch.set_num_threads(threads)
            found[name, threads].append(milliseconds(function, sounds))
    torch.set_num_threads(cores)
    for (name, threads), spent in found.items():
        middle, low = statistics.median(spent), min(spent)
        print(f"{name:10}{threads:3} threads{middle:8.1f} ms (at best {low:.1f})")
        rows.append({"contender": name, "threads": threads, "milliseconds": round(middle, 2), "best": round(low, 2)})
    print(record("audio", {"sounds": SOUNDS, "rate": RATE, "rounds": options.rounds, "rows": rows}))


if __name__ == "__main__":
    main()
