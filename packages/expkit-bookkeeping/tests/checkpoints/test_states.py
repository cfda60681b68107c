import enum
import os
from collections import OrderedDict, namedtuple

import pytest

if "torch" in os.environ.get("EXPKIT_REQUIRE", "").split(","):
    import torch
else:
    torch = pytest.importorskip("torch")

import numpy as np
from torch import nn
from torch.optim import lr_scheduler

from expkit_bookkeeping import Bookkeeping
from expkit_bookkeeping._files.saveable import saveable
from expkit_bookkeeping._files.torch_archives import read_torch, write_torch


@pytest.fixture
def run(tmp_path):
    with Bookkeeping(tmp_path / "exp" / "training" / "run", console=False) as run:
        yield run


def round_trip(path, value):
    write_torch(path, saveable(value))
    return torch.load(path, weights_only=True)


class Colour(enum.IntEnum):
    RED = 1


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float64(0.1), 0.1),
        (np.float32(0.5), 0.5),
        (np.int64(2**40), 2**40),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (Colour.RED, 1),
        (Point(1, [2]), (1, [2])),
        ({1, 2}, {1, 2}),
        (frozenset([1]), {1}),
        ({(0, "a"): 1}, {(0, "a"): 1}),
        ({np.int64(3): None}, {3: None}),
        (2**80, 2**80),
        (1j, 1j),
        (b"x", b"x"),
        (OrderedDict(b=1, a=2), OrderedDict(b=1, a=2)),
        (torch.float16, torch.float16),
        (torch.Size([2]), torch.Size([2])),
        (torch.device("cpu"), torch.device("cpu")),
    ],
    ids=repr,
)
def test_values_are_read_back_as_plain_ones(tmp_path, value, expected):
    back = round_trip(tmp_path / "value.pt", value)

    assert back == expected
    assert type(back) is type(expected)


@pytest.mark.parametrize("dtype", ["float64", "float16", "int8", "uint16", "uint64", "bool", "c8"])
def test_arrays_are_read_back_as_tensors_of_their_dtype(tmp_path, dtype):
    array = np.arange(6).reshape(2, 3)[:, ::-1].astype(dtype)
    back = round_trip(tmp_path / "value.pt", {"array": array})["array"]

    assert back.numpy().dtype == array.dtype
    assert np.array_equal(back.numpy(), array)


def test_a_hydra_configuration_is_read_back_as_plain_containers(tmp_path):
    omegaconf = pytest.importorskip("omegaconf")
    config = omegaconf.OmegaConf.create({"lr": 0.1, "betas": [0.9, "${lr}"]})

    back = round_trip(tmp_path / "value.pt", {"group": config})

    assert back == {"group": {"lr": 0.1, "betas": [0.9, 0.1]}}
    assert type(back["group"]["betas"]) is list


def test_module_versions_stay_in_a_state(tmp_path):
    state = nn.BatchNorm1d(2).state_dict()

    assert round_trip(tmp_path / "value.pt", state)._metadata == state._metadata


def test_numpy_numbers_beside_a_modules_versions_become_plain_ones(tmp_path):
    class Scaled(nn.Linear):
        def _save_to_state_dict(self, destination, prefix, keep_vars):
            super()._save_to_state_dict(destination, prefix, keep_vars)
            destination._metadata[prefix[:-1]]["scale"] = np.float64(0.5)

    state = nn.Sequential(Scaled(2, 2)).state_dict()
    back = round_trip(tmp_path / "value.pt", state)._metadata

    assert back == state._metadata
    assert type(back["0"]["scale"]) is float


def test_the_longest_numbers_that_can_be_read_back_are_saved(tmp_path):
    most = 2**2032 - 1
    value = {"alone": most, -most: [most, -most], "mixed": [most, "a"], "set": {most, (-most,)}}

    assert round_trip(tmp_path / "value.pt", value) == value


class Registered(torch.Tensor):
    pass


@pytest.mark.skipif(not hasattr(torch.serialization, "safe_globals"), reason="since torch 2.5")
@pytest.mark.parametrize("background", [False, True])
def test_a_tensor_of_a_class_that_was_allowed_in_torch_is_read_back(run, background):
    tensor = torch.arange(3.0).as_subclass(Registered)
    with torch.serialization.safe_globals([Registered]):
        for epoch in range(2):
            run.save_checkpoint(epoch, tensor=tensor, background=background)
        back = run.resume().extra["tensor"]

    assert type(back) is Registered
    assert torch.equal(back, tensor)


class OwnParameter(nn.Parameter):
    pass


class Counting(nn.Linear):
    def _save_to_state_dict(self, destination, prefix, keep_vars):
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[f"{prefix}weight"].numpy()  # not of one that needs a gradient


def hook(module, state, prefix, local_metadata):
    state["weight"].numpy()


def model_that_counts_on_detached_tensors(kind):
    model = Counting(2, 2) if kind == "method" else nn.Linear(2, 2)
    if kind == "hook":
        model._register_state_dict_hook(hook)
    if kind == "class of parameters":
        model.weight = OwnParameter(torch.rand(2, 2))
    return model


@pytest.mark.parametrize("kind", ["method", "hook", "class of parameters"])
def test_a_model_that_counts_on_detached_tensors_is_saved_and_read_back(run, kind):
    saved = model_that_counts_on_detached_tensors(kind)
    for epoch, background in enumerate([False, True]):
        run.save_checkpoint(epoch, model=saved, background=background)
        resumed = model_that_counts_on_detached_tensors(kind)
        assert run.resume(model=resumed) == epoch + 1
        assert torch.equal(resumed.weight, saved.weight)
    run.save_model(saved)
    loaded = run.load_model(model_that_counts_on_detached_tensors(kind))

    assert torch.equal(loaded.weight, saved.weight)


def test_a_saved_model_is_a_plain_state_dict_of_other_programs(run):
    model = nn.Linear(2, 2)
    path = run.save_model(model)

    assert path == run.folder / "states" / "model.pt"
    assert torch.load(path, weights_only=True).keys() == model.state_dict().keys()


def test_model_optimizer_and_scheduler_are_read_back(run):
    def make():
        model = nn.Linear(3, 1)
        optimizer = torch.optim.AdamW(model.parameters(), lr=np.float64(0.1))
        return model, optimizer, lr_scheduler.StepLR(optimizer, 2)

    model, optimizer, scheduler = make()
    for _ in range(3):
        model(torch.randn(4, 3)).sum().backward()
        optimizer.step()
        scheduler.step()
    run.save_model(model, "teacher/first")
    run.save_optimizer(optimizer)
    run.save_scheduler(scheduler)
    other_model, other_optimizer, other_scheduler = make()

    assert run.load_model(other_model, "teacher/first") is other_model
    assert run.load_optimizer(other_optimizer) is other_optimizer
    assert run.load_scheduler(other_scheduler) is other_scheduler
    assert torch.equal(other_model.weight, model.weight)
    assert repr(other_optimizer.state_dict()) == repr(saveable(optimizer.state_dict()))
    assert other_scheduler.state_dict() == scheduler.state_dict()


SCHEDULERS = {
    "StepLR": lambda o: lr_scheduler.StepLR(o, 2),
    "LambdaLR": lambda o: lr_scheduler.LambdaLR(o, lambda epoch: 0.9**epoch),
    "OneCycleLR": lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=9),
    "ReduceLROnPlateau": lambda o: lr_scheduler.ReduceLROnPlateau(o),
    "CosineAnnealingWarmRestarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 2),
    "CyclicLR": lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1),
    "SequentialLR": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.ConstantLR(o), lr_scheduler.ExponentialLR(o, 0.9)], [2]
    ),
    "ChainedScheduler": lambda o: lr_scheduler.ChainedScheduler([lr_scheduler.StepLR(o, 1)]),
}


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.filterwarnings("ignore")
def test_torchs_schedulers_continue_where_they_were(run, name):
    def make():
        optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1, momentum=0.9)
        return optimizer, SCHEDULERS[name](optimizer)

    def advance(optimizer, scheduler):
        optimizer.step()
        scheduler.step(np.float32(0.5)) if name == "ReduceLROnPlateau" else scheduler.step()
        return optimizer.param_groups[0]["lr"]

    optimizer, scheduler = make()
    for _ in range(3):
        advance(optimizer, scheduler)
    run.save_checkpoint(0, optimizer=optimizer, scheduler=scheduler)
    expected = [advance(optimizer, scheduler) for _ in range(3)]
    optimizer, scheduler = make()
    run.resume(optimizer=optimizer, scheduler=scheduler)

    assert [advance(optimizer, scheduler) for _ in range(3)] == expected


def test_tied_weights_are_written_once(run):
    model = nn.Sequential(nn.Linear(500, 500), nn.Linear(500, 500))
    model[1].weight = model[0].weight

    assert run.save_model(model).stat().st_size < 1.1 * 500 * 500 * 4


def test_an_old_pickled_file_is_read_on_request_only(run):
    model = nn.Linear(2, 2)
    run.create_folder("states")
    state = model.state_dict() | {"lr": np.float64(1)}
    torch.save(state, run.folder / "states" / "old.pt")
    with pytest.raises(ValueError, match=r"numpy.*add_safe_globals.*unsafe=True"):
        run.load_model(nn.Linear(2, 2), "old")

    other = run.load_model(nn.Linear(2, 2), "old", strict=False, unsafe=True)

    assert torch.equal(other.weight, model.weight)


def test_checksums_are_written_where_the_program_turned_them_off(run):
    from torch import serialization

    serialization.set_crc32_options(False)
    try:
        path = run.save_model(nn.Linear(2, 2))
        assert serialization.get_crc32_options() is False
    finally:
        serialization.set_crc32_options(True)

    assert read_torch(path).keys() == {"weight", "bias"}


def test_another_rank_writes_no_state(tmp_path):
    with Bookkeeping(tmp_path / "run", rank=1) as run:
        path = run.save_model(nn.Linear(2, 2))

    assert not path.exists()


def test_states_of_a_finished_run_are_read_without_claiming_it(run):
    model = nn.Linear(2, 2)
    run.save_model(model)
    run.close()

    other = Bookkeeping(run.folder).load_model(nn.Linear(2, 2))

    assert torch.equal(other.weight, model.weight)
    assert len(list((run.folder / "claims").iterdir())) == 1
