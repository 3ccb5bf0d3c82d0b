"""After training, the networks behind a method's predictions have the batch statistics of plain samples."""

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from withhold import evaluation
from withhold.contract import Trial
from withhold.methods import Method, answers, find, names

ANSWERING = [name for name in names() if find(name).apply_to is not Method.apply_to]
STALE = 1000.0
WITHOUT_ENCODER = ("cyclegan", "simgan")
"""Methods whose answers come from other networks, which have no batch normalisation."""


@pytest.mark.parametrize("name", ANSWERING)
def test_no_answer_rests_on_the_statistics_of_training(name):
    trial = Trial(find(name))
    method, batch = trial.prepared(4)
    norms = [part for part in method.eval().modules() if isinstance(part, _BatchNorm)]
    if not norms:
        return
    for norm in norms:
        norm.running_mean.fill_(STALE)
    plain = [samples.of(method.encoder.kind) for samples in trial.made[1].values()]
    method.finish(lambda: evaluation.plain_batches(plain, "cpu"))
    ran = []
    for norm in norms:
        norm.register_forward_pre_hook(lambda norm, _: ran.append(norm.running_mean.abs().max().item()))
    items = next(iter(batch.values()))
    if isinstance(items, tuple):  # a sound goes with its clip, a label stays with the person
        item = tuple(part[0] for part in items) if "+" in method.encoder.kind else items[0][0]
    else:
        item = items[0]
    given = {}
    if name == "tracking_by_colorizing":
        given["mask"] = answers.Mask(torch.zeros(item.shape[-2:], dtype=torch.uint8), [0, 0, 0])
    with torch.no_grad():
        method.apply_to(item, **given)
    assert bool(ran) == (name not in WITHOUT_ENCODER)
    assert all(mean < STALE / 2 for mean in ran)
