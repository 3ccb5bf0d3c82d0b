"""Small batches and a loop that overfits one of them, for tests of single methods."""

import torch
from torch.nn import functional as F

from withhold.training.loop import channels_last


def batch(photos, count=32):
    """The first of the `photos`, as the trainer would bring them."""
    return {"images": torch.from_numpy(photos[:count]).permute(0, 3, 1, 2)}


def random_images(n, seed=0, size=32, channels=3):
    """Noise, uint8 [n, channels, size, size]."""
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, channels, size, size), generator=rng, dtype=torch.uint8)


def smooth_images(n, size=32, channels=3):
    """Random images that are larger than their details, uint8 [n, channels, size, size]."""
    rng = torch.Generator().manual_seed(1)
    coarse = torch.randint(0, 256, (n, channels, 6, 6), generator=rng).float()
    return F.interpolate(coarse, (size, size), mode="bilinear").byte()


def tinted_images(per_class, seed=0, size=16):
    """Noise with a little more of one colour, uint8 [3 * per_class, 3, size, size], and which colour it is [n]."""
    labels = torch.arange(3).repeat(per_class)
    noise = random_images(len(labels), seed, size).float()
    noise[torch.arange(len(labels)), labels] += 60
    return noise.clamp(max=255).byte(), labels


def overfit(method, images, seeds, lr=2e-3):
    """A step of AdamW on the same images (or streams) for each of the views' `seeds` -> the terms of every step."""
    channels_last(method)  # as a training does
    optimizer = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], lr)
    history = []
    for seed in seeds:
        method.seed(seed)
        terms = method(images if isinstance(images, dict) else {"images": images})
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
        method.after_step()
        history.append(terms)
    return history


def told_by_colour(images, views):
    """The share of views [n, c, h, w] whose mean colour is nearest to that of the image [n, c, h, w] that they show."""
    first, second = (part.float().mean((2, 3)) for part in (views, images))
    return (torch.cdist(first, second).argmin(1) == torch.arange(len(first))).float().mean().item()
