"""Time of each part of a training step, and training speed next to lightly's loop.

    python benchmarks/train.py DATA                        DATA: CIFAR-10 as parquet, for instance
    python benchmarks/train.py DATA --peer PYTHON SCRIPT   compare with the same step in SCRIPT, run by PYTHON
    python benchmarks/train.py DATA --method uda --encoder convnet --batch-size 64     another image method
    python benchmarks/train.py DATA --method all           every image method, with its own encoder and batch size

The default is SimCLR with ResNet-18 at 32 pixels, batch size 256. `prepare` is not counted. What networks compute while
views are made, such as predictions and their gradients, counts as forward and backward. The loop is the library's own,
timed from outside. The peer's script takes --data, --images and --batch-size, and prints a JSON object with
`images_per_second` and `peak_rss_mb`. It runs after withhold, in the plain environment of its users; withhold has the
environment that its command line sets.
"""

# ruff: noqa: E402 (environment variables are set before torch is imported)

import argparse
import json
import os
import resource
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from withhold import cli

PLAIN = dict(os.environ)
os.environ |= cli.ENVIRONMENT

import torch
from record import record
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

import withhold
from withhold import data, nets
from withhold.methods import build, find
from withhold.training import Plan, defaults, fit
from withhold.training.fabric import make_fabric


class Clock:
    """Sums the seconds from `start(part)` to its `stop()`, excluding nested parts; waits for the device.

    What is nested in "prepare" counts as that.
    """

    def __init__(self, device: torch.device):
        self.device, self.seconds, self.open, self.since = device, defaultdict(float), [], 0.0

    def start(self, part: str) -> None:
        self._count()
        self.open.append(part)

    def stop(self) -> None:
        self._count()
        self.open.pop()

    def _count(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        now = time.perf_counter()
        if self.open:
            self.seconds["prepare" if "prepare" in self.open else self.open[-1]] += now - self.since
        self.since = now

    def around(self, part: str, function):
        def timed(*arguments, **options):
            self.start(part)
            result = function(*arguments, **options)
            self.stop()
            return result

        return timed


def measure(source: str, name: str, encoder: str, batch_size: int, seconds: float, count: int) -> dict:
    """Speed of a step, and the share of each part; an empty `encoder` and a `batch_size` of 0 are the method's own."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    samples = data.load(source, size=32)
    samples = samples.select(range(min(count, len(samples))))
    encoder = encoder or defaults.encoder(find(name), device, "image")
    batch_size = batch_size or defaults.batch_size(find(name), 50_000, "image")
    method = build(find(name), nets.build(encoder, size=32, channels=3), {}, {"classes": samples.classes})
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
        method.encoder.compile()
    feeder = data.Feeder(dict.fromkeys(method.needs, samples), method.needs, batch_size, 0, device=device)
    precision = defaults.precision(device, method.encoder)
    fabric = make_fabric(device.type, precision=precision)
    clock = Clock(device)
    method.prepare = clock.around("prepare", method.prepare)

    def timed(steps: int) -> float:
        """The seconds of a training, without those of `prepare`."""
        began = time.perf_counter()
        fit(method, feeder, Plan(steps=steps), fabric=fabric)
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began - clock.seconds.pop("prepare")

    timed(3)  # warms up
    steps = max(3, round(3 * seconds / timed(3)))  # in a short run, logging and the first step count too much
    plain = timed(steps)
    method.hide = clock.around("views", method.hide)
    method.predict = clock.around("forward", method.predict)
    method.loss = clock.around("forward", method.loss)
    for network in networks(method):
        call = "forward" if network._compiled_call_impl is None else "_compiled_call_impl"
        setattr(network, call, clock.around("forward", getattr(network, call)))
    method.after_step = clock.around("after_step", method.after_step)
    fabric.backward = clock.around("backward", fabric.backward)
    gradients, torch.autograd.grad = torch.autograd.grad, clock.around("backward", torch.autograd.grad)
    iterate = feeder.iterate

    def timed_batches(start, stop):
        batches = iterate(start, stop)
        for _ in range(start, stop):
            clock.start("data")
            batch = next(batches)
            clock.stop()
            yield batch

    feeder.iterate = timed_batches
    hooks = [
        register_optimizer_step_pre_hook(lambda *_: clock.start("optimizer")),
        register_optimizer_step_post_hook(lambda *_: clock.stop()),
    ]
    whole = timed(steps)
    torch.autograd.grad = gradients
    for hook in hooks:
        hook.remove()
    shares = {part: round(seconds / whole, 4) for part, seconds in clock.seconds.items()}
    shares["rest"] = round(1 - sum(shares.values()), 4)
    return {
        "method": name, "encoder": encoder, "batch_size": batch_size, "precision": precision,
        "images_per_second": round(steps * batch_size / plain, 1), "shares": shares,
        "outside_forward_and_backward": round(1 - shares["forward"] - shares["backward"], 4),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }  # fmt: skip


def networks(module: torch.nn.Module) -> Iterator[torch.nn.Module]:
    """Every module below, but none inside a compiled one: the compiler traces `forward`, which must not change."""
    for child in module.children():
        yield child
        if child._compiled_call_impl is None:
            yield from networks(child)


def main() -> Path:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="images, such as cifar10/train.parquet")
    parser.add_argument("--method", default="simclr", help="an image method, or all (default: %(default)s)")
    parser.add_argument("--encoder", default="resnet18", help="not with --method all (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=256, help="not with --method all (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=20, help="timed seconds (default: %(default)s)")
    parser.add_argument("--images", type=int, default=2048, help="number of images at most (default: %(default)s)")
    parser.add_argument("--peer", nargs=2, metavar=("PYTHON", "SCRIPT"), help="Python and script of another library")
    options = parser.parse_args()
    if options.method == "all":
        names = [card["name"] for card in withhold.methods() if card["folder"] == "image"]
        rows = []
        for name in names:
            rows.append(measure(options.data, name, "", 0, options.seconds, options.images))
            print(json.dumps(rows[-1]), flush=True)
        return record("train-methods", {"rows": rows})
    asked = (options.data, options.method, options.encoder, options.batch_size, options.seconds, options.images)
    result = {"withhold": measure(*asked)}
    if options.peer:
        folder = Path(options.data).parent if Path(options.data).is_file() else Path(options.data)
        command = [*options.peer, "--data", str(folder), "--images", str(options.images)]
        said = subprocess.run(
            [*command, "--batch-size", str(options.batch_size)], capture_output=True, text=True, check=True, env=PLAIN
        )
        result["peer"] = json.loads(said.stdout.splitlines()[-1])
        result["times_faster"] = round(result["withhold"]["images_per_second"] / result["peer"]["images_per_second"], 2)
    print(json.dumps(result, indent=2))
    name = "train" if options.method == "simclr" else f"train-{options.method}"
    device = "-gpu" if torch.cuda.is_available() else ""
    if not device and result["withhold"]["precision"] == "bf16-mixed":
        device = "-amx" if torch.cpu._is_amx_tile_supported() else "-avx512"
    return record(name + device, result)


if __name__ == "__main__":
    main()
