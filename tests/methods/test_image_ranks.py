"""Two processes with half of the batch each compute the same as one with the whole batch."""

import os

import pytest
import torch
from torch import distributed, multiprocessing
from torch.nn import functional as F

from tests.conftest import free_port
from withhold import nets
from withhold.methods import find

N = 6
COMPARING = ("barlow_twins", "vicreg", "swav")  # by statistics of the batch


def make(name, **parameters):
    torch.manual_seed(0)
    return find(name)(nets.build("convnet", size=32, channels=3), **parameters)


def embeddings(seed, width):
    return torch.randn(2, N, width, generator=torch.Generator().manual_seed(seed))


def _in_rank(rank, port, folder):
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", rank=rank, world_size=2)
    mine = slice(rank * N // 2, (rank + 1) * N // 2)
    found = {}
    z = embeddings(1, 128)[:, mine].flatten(0, 1).requires_grad_()
    terms = make("simclr").loss(z, torch.arange(N).roll(N // 2))
    terms["loss"].backward()
    found["simclr"] = (terms["loss"].detach(), terms["trivial"], z.grad.view(2, N // 2, 128))
    z = embeddings(2, 1)[:, mine].flatten(0, 1).requires_grad_()
    terms = make("lejepa", views=2, projection=1).loss(z, torch.arange(N // 2).repeat(2))
    terms["sigreg"].backward()
    found["lejepa"] = (terms["sigreg"].detach(), terms["trivial"], z.grad.view(2, N // 2, 1))
    z = embeddings(4, 10)[:, mine].flatten(0, 1).requires_grad_()
    terms = make("imsat").loss(z, embeddings(5, 10)[0, mine].softmax(1))
    terms["loss"].backward()
    found["imsat"] = (terms["loss"].detach(), terms["trivial"], z.grad.view(2, N // 2, 10))
    for name in COMPARING:
        z = embeddings(4, 128)[:, mine].flatten(0, 1).requires_grad_()
        terms = make(name).loss(z, torch.arange(N // 2))
        terms["loss"].backward()
        found[name] = (terms["loss"].detach(), terms["trivial"], z.grad.view(2, N // 2, 128))
    moco = make("moco", queue=8, projection=4)
    moco.keep(F.normalize(embeddings(3, 4)[0, mine], dim=1))
    moco.after_step()
    found["moco"] = moco.queue.keys
    torch.save(found, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    multiprocessing.start_processes(_in_rank, (free_port(), folder), nprocs=2, start_method="spawn")
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def check(ranks, name, key, method, z, shown):
    z = z.flatten(0, 1).requires_grad_()
    terms = method.loss(z, shown)
    terms[key].backward()
    losses, trivials, gradients = zip(*(found[name] for found in ranks), strict=True)
    assert torch.allclose(sum(losses) / 2, terms[key], rtol=1e-5, atol=1e-5)
    assert all(float(trivial) == pytest.approx(float(terms["trivial"]), rel=1e-5) for trivial in trivials)
    # Parameters' gradients are averaged over ranks, hence a half.
    assert torch.allclose(torch.cat(gradients, 1) / 2, z.grad.view(2, N, -1), atol=1e-6)


def test_simclr_compares_the_views_of_all_ranks(ranks):
    check(ranks, "simclr", "loss", make("simclr"), embeddings(1, 128), torch.arange(2 * N).roll(N))


def test_lejepa_tests_the_embeddings_of_all_ranks_together(ranks):
    method = make("lejepa", views=2, projection=1)
    check(ranks, "lejepa", "sigreg", method, embeddings(2, 1), torch.arange(N).repeat(2))


def test_imsat_wants_the_answers_of_all_ranks_together_to_be_even(ranks):
    check(ranks, "imsat", "loss", make("imsat"), embeddings(4, 10), embeddings(5, 10)[0].softmax(1))


@pytest.mark.parametrize("name", COMPARING)
def test_what_a_loss_says_of_a_batch_it_says_of_all_ranks_together(ranks, name):
    check(ranks, name, "loss", make(name), embeddings(4, 128), torch.arange(N))


def test_moco_remembers_the_keys_of_all_ranks_on_every_rank(ranks):
    first, second = (found["moco"] for found in ranks)
    assert torch.equal(first, second)
    assert torch.allclose(first[:N], F.normalize(embeddings(3, 4)[0], dim=1), atol=1e-6)
