"""A resumed run sees the batches of one that was not stopped, with every kind of loader."""

import itertools

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset  # noqa: E402

from expkit_bookkeeping import Bookkeeping  # noqa: E402

PLAIN = TensorDataset(torch.arange(12.0))


class Augmented(Dataset):
    def __len__(self):
        return 12

    def __getitem__(self, index):
        return index + torch.rand(()), 0


class EagerSampler:
    """Draws when it is asked for an iterator, not at the first number."""

    generator = None

    def __init__(self):
        self.generator = torch.Generator().manual_seed(3)

    def __len__(self):
        return 12

    def __iter__(self):
        return iter(torch.randperm(12, generator=self.generator).tolist())


def make_loader(
    dataset, *, workers, persistent, own_generator=True, sampler=False, kind=DataLoader
):
    order = {"sampler": EagerSampler()} if sampler else {"shuffle": True}
    generator = torch.Generator().manual_seed(5) if own_generator else None
    return kind(
        dataset,
        4,
        num_workers=workers,
        persistent_workers=persistent,
        generator=generator,
        **order,
    )


def batches(folder, epochs, dataset=PLAIN, save_first=False, **options):
    """Batches of each epoch, and what training draws besides."""
    torch.manual_seed(1)
    loader, model = make_loader(dataset, **options), nn.Linear(1, 1)
    seen = []
    with Bookkeeping(folder, console=False) as run:
        start = run.resume(model=model, loader=loader)
        if save_first and start == 0:
            run.save_checkpoint(0, model=model, loader=loader)
            if epochs == 1:
                return seen
        for epoch in range(max(start, int(save_first)), epochs):
            seen.append(([batch[0].tolist() for batch in loader], torch.rand(1).item()))
            run.save_checkpoint(epoch, model=model, loader=loader)
    return seen


def resumed(folder, stops, **options):
    """The same of a run that is resumed after each of these epochs."""
    parts = [batches(folder, epochs, **options) for epochs in stops]
    return list(itertools.chain.from_iterable(parts))


def warnings(folder):
    log = (folder / "training.log").read_text()
    return [line for line in log.splitlines() if "WARNING" in line]


@pytest.mark.parametrize("own_generator", [True, False])
@pytest.mark.parametrize("sampler", [False, True])
@pytest.mark.parametrize(("workers", "persistent"), [(0, False), (2, False), (2, True)])
def test_a_dataset_without_randomness_gives_the_same_batches_also_resumed_twice(
    tmp_path, own_generator, sampler, workers, persistent
):
    options = {
        "workers": workers, "persistent": persistent, "own_generator": own_generator,
        "sampler": sampler,
    }  # fmt: skip
    whole = batches(tmp_path / "whole", 5, **options)
    assert resumed(tmp_path / "parts", (2, 3, 5), **options) == whole
    assert warnings(tmp_path / "parts") == []


def test_a_checkpoint_of_before_the_first_batch_starts_no_workers_ahead(tmp_path):
    options = {"workers": 2, "persistent": True, "save_first": True}
    whole = batches(tmp_path / "whole", 3, **options)
    assert resumed(tmp_path / "parts", (1, 3), **options) == whole


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stateful", [False, True])
def test_random_augmentation_is_the_same_without_persistent_workers(tmp_path, workers, stateful):
    options = {"dataset": Augmented(), "workers": workers, "persistent": False}
    if stateful:
        options["kind"] = stateful_loader()
    whole = batches(tmp_path / "whole", 4, **options)
    assert resumed(tmp_path / "parts", (2, 4), **options) == whole
    assert warnings(tmp_path / "parts") == []


@pytest.mark.parametrize("stateful", [False, True])
def test_random_augmentation_in_persistent_workers_is_warned_of_with_the_cure(tmp_path, stateful):
    options = {"dataset": Subset(Augmented(), range(12)), "workers": 2, "persistent": True}
    if stateful:
        options["kind"] = stateful_loader()
    whole = batches(tmp_path / "whole", 4, **options)
    parts = resumed(tmp_path / "parts", (2, 4), **options)
    assert in_whole_numbers(parts) == in_whole_numbers(whole)  # the order, at least
    (warning,) = warnings(tmp_path / "parts")
    assert "persistent_workers=False" in warning


def test_a_loader_that_lost_its_persistent_workers_is_warned_of(tmp_path):
    batches(tmp_path, 2, workers=2, persistent=True)
    batches(tmp_path, 3, workers=2, persistent=False)
    (warning,) = warnings(tmp_path)
    assert "order of the samples" in warning


class Lazy(DataLoader):
    """Starts its workers at the first batch, not at `iter`."""

    def __iter__(self):
        yield from super().__iter__()


def test_a_loader_whose_workers_start_late_is_warned_of(tmp_path):
    options = {"workers": 2, "persistent": True, "kind": Lazy}
    resumed(tmp_path, (1, 2), **options)
    (warning,) = warnings(tmp_path)
    assert "persistent_workers=False" in warning


@pytest.mark.parametrize(("workers", "persistent"), [(0, False), (2, False), (2, True)])
def test_a_stateful_loader_gives_the_same_batches(tmp_path, workers, persistent):
    options = {"workers": workers, "persistent": persistent, "kind": stateful_loader()}
    whole = batches(tmp_path / "whole", 4, **options)
    assert resumed(tmp_path / "parts", (2, 4), **options) == whole
    assert warnings(tmp_path / "parts") == []


def stateful_loader():
    return pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader


def in_whole_numbers(seen):
    return [[[int(number) for number in batch] for batch in epoch] for epoch, _ in seen]
