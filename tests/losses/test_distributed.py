"""Two processes give the loss and the gradient of one process with both batches."""

import torch
from torch import distributed, multiprocessing
from torch.nn import functional as F

from tests.conftest import free_port
from withhold import losses, nets


def embeddings():
    rng = torch.Generator().manual_seed(0)
    return torch.randn(8, 4, generator=rng), torch.randn(8, 4, generator=rng)


def loss(weight, first, second):
    return losses.nt_xent(first @ weight, second @ weight, 0.5)


def work(rank, port, answers):
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    first, second = (x.chunk(2)[rank] for x in embeddings())
    weight = torch.eye(4, requires_grad=True)
    value = loss(weight, first, second)
    value.backward()
    distributed.all_reduce(weight.grad)  # what data-parallel training does: the mean over ranks
    queue = nets.Queue(10, 4)
    queue.enqueue(first)
    bank = nets.MemoryBank(8, 4, momentum=0.0)
    bank.update(torch.arange(4) + 4 * rank, first)
    answers[rank] = {
        "loss": value.item(),
        "gradient": (weight.grad / 2).tolist(),
        "gathered": losses.gather(first).tolist(),
        "slope": torch.func.jvp(losses.gather, (first,), (second,))[1].tolist(),
        "queue": queue.keys[:8].tolist(),
        "bank": bank.features.tolist(),
    }
    distributed.destroy_process_group()


def test_two_processes_are_one_with_twice_the_batch():
    answers = multiprocessing.get_context("spawn").Manager().dict()
    multiprocessing.spawn(work, (free_port(), answers), nprocs=2)
    first, second = embeddings()
    weight = torch.eye(4, requires_grad=True)
    expected = loss(weight, first, second)
    expected.backward()
    unit = F.normalize(first, dim=1)
    assert abs((answers[0]["loss"] + answers[1]["loss"]) / 2 - expected.item()) < 1e-5
    for rank in range(2):
        torch.testing.assert_close(torch.tensor(answers[rank]["gradient"]), weight.grad)
        torch.testing.assert_close(torch.tensor(answers[rank]["gathered"]), first)
        torch.testing.assert_close(torch.tensor(answers[rank]["slope"]), second)
        torch.testing.assert_close(torch.tensor(answers[rank]["queue"]), unit)
        torch.testing.assert_close(torch.tensor(answers[rank]["bank"]), unit)


def test_alone_nothing_is_gathered():
    rows = torch.rand(3, 2)
    assert losses.gather(rows) is rows
    assert losses.ranks() == 1
