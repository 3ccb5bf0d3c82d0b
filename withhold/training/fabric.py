"""The device, precision and ranks of a training."""

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def make_fabric(accelerator: str = "cpu", devices: int = 1, **options: Any) -> "Fabric":
    """Make a Fabric. Its package is imported here because that takes seconds and only training needs it."""
    from lightning_fabric import Fabric

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # the run logs the same itself
    return Fabric(accelerator=accelerator, devices=devices, **options)
