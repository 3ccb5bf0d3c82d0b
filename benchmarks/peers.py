"""Other libraries, run in the way that their documentation shows, to be measured beside ours in one run."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


def import_torchvision():
    """torchvision, also beside a torch for which its compiled operators were not built: the transforms need none."""
    try:
        import torchvision
    except RuntimeError:  # it registers its operators' other halves, and there is nothing to register them on
        operators = torch.library.Library("torchvision", "FRAGMENT")
        import_torchvision.kept = operators  # a library that is collected takes its declarations along
        for name in ("nms", "roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool", "deform_conv2d"):
            for operator in (name, f"q{name}", f"_{name}_backward"):
                operators.define(f"{operator}(Tensor boxes) -> Tensor")
        import torchvision
    return torchvision


def torchvision_simclr(size: int, blur: bool) -> Callable[[Tensor], Tensor]:
    """SimCLR's views, one Pillow image after the other: what a data loader's worker does."""
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
        if images not in pictures:  # decoded beforehand, as ours are
            pictures[images] = [picture(image) for image in images]
        return torch.stack([view(image) for image in pictures[images]])

    return batch


def kornia_simclr(size: int, blur: bool) -> Callable[[Tensor], Tensor]:
    """SimCLR's views of a whole batch, with different parameters for each."""
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
    """The blur's width in pixels: odd, a tenth of the view's."""
    return 2 * (size // 20) + 1
