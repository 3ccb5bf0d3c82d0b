"""Where a training runs: its device, precision and ranks."""

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def make_fabric(accelerator: str = "cpu", devices: int = 1, **options: Any) -> "Fabric":
    """A Fabric. Its package is imported here: it takes seconds, and only what trains needs it."""
    from lightning_fabric import Fabric

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # what it would say, the run says itself
    return Fabric(accelerator=accelerator, devices=devices, **options)
