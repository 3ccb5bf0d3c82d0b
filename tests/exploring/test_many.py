"""The page with more items than can all be compared."""

import numpy as np
import torch

from withhold.exploring import adviser


def test_what_to_label_next_is_looked_for_among_some_of_many_items(monkeypatch):
    monkeypatch.setattr(adviser, "GRAPH", 30)
    features = torch.randn(300, 8, generator=torch.Generator().manual_seed(0))
    labels = np.full(300, -1)
    labels[:10] = np.arange(10) % 2
    asked, seen = adviser.Adviser(features), []
    for strategy in ("typical", "margin", "random"):
        items, why = asked.queue(40, labels, [10, 11], asked.answer(labels, 2, adviser.ROUTES[0]).shares, strategy)
        assert len(items) == len(set(items)) == len(why) == 30 and min(items) > 11
        seen.append(set(items))
    assert seen[0] == seen[1] == seen[2]
    labels[12] = 0
    assert set(asked.queue(40, labels, [10, 11], None, "random")[0]) != seen[0]
