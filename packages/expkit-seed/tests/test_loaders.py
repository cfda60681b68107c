import pickle
import random

import pytest

from expkit_seed import (
    SeededDataset,
    isolated_rng,
    loader_kwargs,
    restore_rng_state,
    rng_state,
    sample_seed,
    set_seed,
)

numpy = pytest.importorskip("numpy")


class Noise:
    """Draws from all three global generators; the index comes first."""

    def __len__(self):
        return 12

    def __getitem__(self, index):
        import torch

        return torch.tensor(
            [index, random.random(), numpy.random.rand(), float(torch.rand(()))],
            dtype=torch.float64,
        )


WORKERS = [
    {"num_workers": 0},
    {"num_workers": 2},
    {"num_workers": 2, "persistent_workers": True},
]


def load(torch, epochs, workers, seed=1, rank=0):
    """Rows of each epoch, shape (epochs, samples, 4)."""
    set_seed(seed, rank=rank)
    loader = torch.utils.data.DataLoader(
        Noise(), batch_size=3, shuffle=True, **workers, **loader_kwargs(seed, rank)
    )
    return torch.stack([torch.cat(list(loader)) for _ in range(epochs)])


@pytest.mark.parametrize("workers", WORKERS)
def test_a_rerun_loads_the_same_and_no_two_draws_are_equal(torch, workers):
    first, again = load(torch, 3, workers), load(torch, 3, workers)

    assert torch.equal(first, again)
    for generator in (1, 2, 3):
        numbers = first[:, :, generator].flatten().tolist()
        assert len(set(numbers)) == len(numbers), "workers or epochs repeat one another"


@pytest.mark.parametrize("workers", WORKERS)
def test_another_seed_or_rank_loads_other_numbers_in_another_order(torch, workers):
    base = load(torch, 1, workers)

    for other in (load(torch, 1, workers, seed=2), load(torch, 1, workers, rank=1)):
        assert not torch.isin(other[:, :, 1:], base[:, :, 1:]).any()
        assert other[0, :, 0].tolist() != base[0, :, 0].tolist()


def test_the_order_depends_on_the_seed_and_not_on_the_workers(torch):
    orders = [load(torch, 1, workers)[0, :, 0].tolist() for workers in WORKERS]

    assert orders[0] == orders[1] == orders[2]


def test_a_seeded_dataset_is_a_dataset_of_pytorch(torch):
    assert isinstance(SeededDataset([1, 2], seed=1), torch.utils.data.Dataset)


def test_training_draws_nothing_from_the_loaders_generator(torch):
    undisturbed = load(torch, 1, WORKERS[1])
    set_seed(1)
    torch.rand(100)
    kwargs = loader_kwargs(1)
    random.random()

    loader = torch.utils.data.DataLoader(
        Noise(), batch_size=3, shuffle=True, num_workers=2, **kwargs
    )

    assert torch.equal(torch.cat(list(loader)), undisturbed[0])


@pytest.mark.parametrize("workers", WORKERS[:2])
def test_a_resume_at_the_end_of_an_epoch_loads_the_same(torch, workers, tmp_path):
    expected = load(torch, 3, workers)

    def make_loader():
        return torch.utils.data.DataLoader(
            Noise(), batch_size=3, shuffle=True, **workers, **loader_kwargs(1)
        )

    set_seed(1)
    loader = make_loader()
    list(loader)
    state = rng_state({"loader": loader.generator})
    torch.save(state, tmp_path / "state.pt")

    set_seed(99)
    loader = make_loader()
    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    restore_rng_state(saved, {"loader": loader.generator})
    resumed = torch.stack([torch.cat(list(loader)) for _ in range(2)])

    assert torch.equal(resumed, expected[1:])


def seeded_epochs(torch, epochs, workers, seed=1, rank=0):
    data = SeededDataset(Noise(), seed, rank)
    loader = torch.utils.data.DataLoader(
        data, batch_size=3, sampler=data.sampler(), **workers, **loader_kwargs(seed, rank)
    )
    rows = []
    for epoch in epochs:
        data.set_epoch(epoch)
        rows.append(torch.cat(list(loader)))
    return torch.stack(rows)


def test_a_seeded_dataset_loads_the_same_with_any_workers_and_from_any_epoch(torch):
    expected = seeded_epochs(torch, range(4), {"num_workers": 0})

    for workers in (*WORKERS[1:], {"num_workers": 1, "persistent_workers": True}):
        assert torch.equal(seeded_epochs(torch, range(4), workers), expected)
        assert torch.equal(seeded_epochs(torch, range(2, 4), workers), expected[2:])


def test_a_seeded_dataset_differs_by_epoch_sample_seed_and_rank(torch):
    epochs = seeded_epochs(torch, range(3), WORKERS[2])
    others = [
        seeded_epochs(torch, [0], WORKERS[0], seed=2),
        seeded_epochs(torch, [0], WORKERS[0], rank=1),
    ]

    numbers = torch.cat([epochs.flatten(0, 1), *(other[0] for other in others)])[:, 1:]
    assert len(numbers.unique()) == numbers.numel()
    assert epochs[0, :, 0].tolist() != epochs[1, :, 0].tolist()
    assert sorted(epochs[0, :, 0].tolist()) == list(range(12))


def test_loading_without_workers_does_not_change_what_the_training_draws(torch, draws):
    data = SeededDataset(Noise(), 1)
    set_seed(1)
    expected = draws()

    set_seed(1)
    data[3]

    assert draws() == expected


def test_a_dataset_that_raises_does_not_change_what_the_training_draws(torch, draws):
    class Broken(Noise):
        def __getitem__(self, index):
            random.random()
            raise OSError("file 3 is gone")

    data = SeededDataset(Broken(), 1)
    set_seed(1)
    expected = draws()
    set_seed(1)

    with pytest.raises(OSError, match="file 3 is gone"):
        data[3]

    assert draws() == expected


def test_sample_seed_is_the_seed_that_a_samples_generators_get(torch):
    data = SeededDataset(Noise(), 1, rank=2)
    data.set_epoch(5)

    seed = sample_seed(1, epoch=5, index=3, rank=2)

    assert float(data[3][1]) == random.Random(seed).random()
    assert float(data[3][2]) == numpy.random.RandomState(seed).rand()


def test_tuples_are_indices_too(torch):
    class Grid(Noise):
        def __getitem__(self, index):
            return index, random.random()

    data = SeededDataset(Grid(), 1)

    assert data[1, 2][0] == (1, 2)
    assert data[1, 2] == data[1, 2]
    assert data[1, 2] != data[2, 1]


def test_worker_init_can_be_sent_to_other_processes(torch, draws):
    init = loader_kwargs(1)["worker_init_fn"]
    with isolated_rng(3):
        init(0)
        expected = draws()

    with isolated_rng(3):
        pickle.loads(pickle.dumps(init))(0)
        assert draws() == expected


def test_spawned_workers_load_the_same_as_forked_ones(torch, run_python):
    code = """
import random, sys
import torch
from expkit_seed import SeededDataset, loader_kwargs

class Noise:
    def __len__(self):
        return 8
    def __getitem__(self, index):
        return torch.tensor([random.random(), torch.rand(())], dtype=torch.float64)

def load(data, context):
    loader = torch.utils.data.DataLoader(
        data, num_workers=1, persistent_workers=True, multiprocessing_context=context,
        **loader_kwargs(1))
    epochs = []
    for epoch in range(2):
        if isinstance(data, SeededDataset):
            data.set_epoch(epoch)
        epochs.append(torch.cat(list(loader)))
    return torch.stack(epochs)

if __name__ == "__main__":
    plain, seeded = Noise(), SeededDataset(Noise(), 1)
    print(torch.equal(load(plain, "fork"), load(plain, "spawn")))
    print(torch.equal(load(seeded, "fork"), load(seeded, "spawn")))
"""

    assert run_python(code).split() == ["True", "True"]


def test_a_seeded_sample_costs_microseconds(torch):
    import time

    class Empty(Noise):
        def __getitem__(self, index):
            return index

    data = SeededDataset(Empty(), 1)
    start = time.process_time()
    for index in range(1000):
        data[index]

    assert time.process_time() - start < 0.5  # 0.04 s on a quiet machine
