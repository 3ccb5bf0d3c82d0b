"""Augmentations of other libraries, used as their documentation shows, for comparison with withhold."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


def import_torchvision():
    """Import torchvision, even if its compiled operators do not match torch: the transforms do not use them."""
    try:
        import torchvision
    except RuntimeError:  # it registers implementations of operators that were not declared
        operators = torch.library.Library("torchvision", "FRAGMENT")
        import_torchvision.kept = operators  # its declarations vanish with the object
        for name in ("nms", "roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool", "deform_conv2d"):
            for operator in (name, f"q{name}", f"_{name}_backward"):
                operators.define(f"{operator}(Tensor boxes) -> Tensor")
        import torchvision
    return torchvision


def torchvision_simclr(size: int, blur: bool) -> Callable[[Tensor], Tensor]:
    """SimCLR's views of Pillow images, one by one, as in a data loader's worker."""
    transforms = import_torchvision().transforms
    chain = [
        transforms.RandomResizedCrop(size, scale=(0.08, 1.0)),
        transforms.RandomHorizontalFlip(),
        transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
        transforms.RandomGrayscale(p=0.2),
    ]
    if blur:
        chain.append(transforms.RandomApply([transforms.GaussianBlur(kernel(size), (0.1, 2.0))], p=0.5))
    view = transforms.Compose([*chain, transforms.ToTensor()])
    picture = transforms.ToPILImage()
    pictures: dict[Tensor, list] = {}

    def batch(images: Tensor) -> Tensor:
        if images not in pictures:  # decoded beforehand, as for withhold
            pictures[images] = [picture(image) for image in images]
        return torch.stack([view(image) for image in pictures[images]])

    return batch


def kornia_simclr(size: int, blur: bool) -> Callable[[Tensor], Tensor]:
    """SimCLR's views of a whole batch, with different parameters for each image."""
    from kornia import augmentation

    chain = [
        augmentation.RandomResizedCrop((size, size), scale=(0.08, 1.0)),
        augmentation.RandomHorizontalFlip(),
        augmentation.ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8, same_on_batch=False),
        augmentation.RandomGrayscale(p=0.2),
    ]
    if blur:
        chain.append(augmentation.RandomGaussianBlur((kernel(size),) * 2, (0.1, 2.0), p=0.5))
    view = nn.Sequential(*chain)
    return lambda images: view(images.float() / 255)


def kernel(size: int) -> int:
    """The width of the blur in pixels: odd, a tenth of the view's width."""
    return 2 * (size // 20) + 1
