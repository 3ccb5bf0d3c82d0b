"""Cached tensors that are made under inference mode work with autograd afterwards."""

import importlib
import pkgutil

import pytest
import torch

import withhold
from withhold import views

ARGUMENTS = {"rate": 8000, "size": 256, "mels": 40, "device": torch.device("cpu")}
ARGUMENTS |= {"rows": 4, "columns": 4, "height": 10, "width": 12, "length": 4, "count": 6}


def kept():
    """The functions of the package that cache a tensor, by name."""
    found = {}
    for module in pkgutil.walk_packages(withhold.__path__, "withhold."):
        if module.name.endswith("__main__"):
            continue
        for value in vars(importlib.import_module(module.name)).values():
            if hasattr(value, "cache_clear") and value.__wrapped__.__annotations__.get("return") is torch.Tensor:
                found[value.__name__] = value
    return found


KEPT = kept()


def test_they_are_found():
    assert {"mel_filters", "ab_palette", "_chroma"} <= set(KEPT)


@pytest.mark.parametrize("name", KEPT)
def test_what_is_kept_is_no_inference_tensor(name):
    function = KEPT[name]
    function.cache_clear()
    arguments = {name: ARGUMENTS[name] for name in function.__wrapped__.__annotations__ if name != "return"}
    with torch.inference_mode():
        made = function(**arguments)
        assert function(**arguments) is made
    assert not made.is_inference()


def test_a_sound_has_a_gradient_after_others_were_looked_at():
    KEPT["mel_filters"].cache_clear()
    with torch.inference_mode():
        views.log_mel(torch.zeros(1, 4000), 8000)
    sounds = torch.rand(1, 4000, requires_grad=True)
    views.log_mel(sounds, 8000).sum().backward()
    assert sounds.grad.abs().max() > 0
