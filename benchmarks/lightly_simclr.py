"""SimCLR with lightly, as its documentation shows, for comparison with withhold: the peer of train.py.

    python benchmarks/lightly_simclr.py --data FOLDER     FOLDER: contains train.parquet of CIFAR-10

It needs lightly and its requirements, not withhold. One epoch over the images; the first step is not counted, because
it starts the workers. Prints a JSON object.
"""

import argparse
import io
import json
import os
import resource
import time
from pathlib import Path

import pyarrow.parquet
import torch
from peers import import_torchvision
from PIL import Image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--batch-size", type=int, default=256)
    options = parser.parse_args()
    import_torchvision()
    from lightly.loss import NTXentLoss
    from lightly.models import ResNetGenerator
    from lightly.models.modules import SimCLRProjectionHead
    from lightly.transforms import SimCLRTransform

    table = pyarrow.parquet.read_table(options.data / "train.parquet").slice(0, options.images)
    column = next(name for name in ("img", "image") if name in table.column_names)
    images = [Image.open(io.BytesIO(cell["bytes"])).convert("RGB") for cell in table[column].to_pylist()]
    augment = SimCLRTransform(input_size=32, gaussian_blur=0.0)
    loader = torch.utils.data.DataLoader(
        images, options.batch_size, shuffle=True, drop_last=True, num_workers=os.cpu_count(),
        collate_fn=lambda batch: tuple(map(torch.stack, zip(*map(augment, batch), strict=True))),
    )  # fmt: skip
    resnet = ResNetGenerator("resnet-18")  # the CIFAR variant, with one 3x3 convolution as its stem
    network = torch.nn.Sequential(
        *list(resnet.children())[:-1], torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
        SimCLRProjectionHead(512, 512, 128),
    )  # fmt: skip
    loss, optimizer = NTXentLoss(), torch.optim.SGD(network.parameters(), lr=0.06)
    for step, (first, second) in enumerate(loader):
        cost = loss(network(first), network(second))
        optimizer.zero_grad()
        cost.backward()
        optimizer.step()
        if not step:
            began = time.perf_counter()
    rate = step * options.batch_size / (time.perf_counter() - began)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"images_per_second": round(rate, 1), "peak_rss_mb": memory}))


if __name__ == "__main__":
    main()
