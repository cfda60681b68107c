import os
import sys

import pytest
import yaml

if "torch" in os.environ.get("EXPKIT_REQUIRE", "").split(","):
    import torch
else:
    torch = pytest.importorskip("torch")

from torch import nn

from expkit_bookkeeping import Bookkeeping

try:
    import torchinfo
except ImportError:
    torchinfo = None

needs_torchinfo = pytest.mark.skipif(
    torchinfo is None and "torch" not in os.environ.get("EXPKIT_REQUIRE", ""),
    reason="torchinfo is not installed",
)


@pytest.fixture
def run(tmp_path):
    with Bookkeeping(tmp_path / "exp" / "training" / "run", console=False) as run:
        yield run


class Counting(nn.Module):
    """Changes a buffer at each call, and refuses inputs of another width."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2)
        self.norm = nn.BatchNorm1d(2)
        self.dropout = nn.Dropout()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, inputs, scale=1.0):
        self.calls += 1
        return self.dropout(self.norm(self.layer(inputs))) * scale


def summary_of(run):
    return yaml.safe_load((run.folder / "model_summary.yaml").read_text())


def warnings_of(run):
    text = (run.folder / "training.log").read_text()
    return [line for line in text.splitlines() if "[WARNING]" in line]


def fingerprint(model):
    return (
        [part.training for part in model.modules()],
        [value.tolist() for value in model.state_dict().values()],
        [value.device for value in model.state_dict().values()],
        [part._forward_hooks | part._forward_pre_hooks for part in model.modules()],
        [parameter.requires_grad for parameter in model.parameters()],
        torch.get_rng_state().tolist(),
    )


@needs_torchinfo
def test_the_summary_lists_layers_shapes_and_totals(run):
    path = run.save_model_summary(Counting(), input_size=(3, 4))

    data = summary_of(run)
    assert path.name == "model_summary.txt"
    assert "Linear" in path.read_text()
    assert data["source"] == "torchinfo"
    assert data["totals"]["parameters"] == 14
    assert data["totals"]["mult_adds"] > 0
    layer = next(layer for layer in data["layers"] if layer["name"] == "layer")
    assert (layer["class"], layer["output_size"], layer["parameters"]) == ("Linear", [3, 2], 10)
    assert warnings_of(run) == []


@needs_torchinfo
@pytest.mark.parametrize("input_size", [(3, 4), (3, 5)], ids=["works", "fails"])
def test_the_summary_leaves_no_trace_in_the_model_or_the_random_states(run, input_size):
    model = Counting()
    model.norm.eval()  # frozen: torchinfo alone would train it again
    model.layer.requires_grad_(False)
    before = fingerprint(model)

    run.save_model_summary(model, input_size=input_size)

    assert fingerprint(model) == before


@needs_torchinfo
@pytest.mark.parametrize(
    "inputs",
    [
        {"input_data": torch.ones(3, 4)},
        {"input_data": (torch.ones(3, 4), 2.0)},
        {"input_data": {"inputs": torch.ones(3, 4), "scale": 2.0}},
        {"inputs": torch.ones(3, 4), "scale": 2.0},
        {"input_size": (3, 4), "scale": 2.0},
        {"input_size": [(3, 4)]},
    ],
    ids=["tensor", "tuple", "dict", "kwargs", "size and kwargs", "sizes"],
)
def test_inputs_may_be_given_in_every_way(run, inputs):
    run.save_model_summary(Counting(), **inputs)

    assert warnings_of(run) == []
    assert summary_of(run)["totals"]["mult_adds"] > 0


@needs_torchinfo
@pytest.mark.filterwarnings("ignore:Half precision")  # torchinfo's own opinion
def test_a_model_in_half_precision_gets_inputs_of_its_dtype(run):
    run.save_model_summary(nn.Linear(4, 2).to(torch.bfloat16), input_size=(3, 4))

    assert warnings_of(run) == []


@needs_torchinfo
def test_a_model_that_fails_gets_a_table_of_parameters_and_one_warning(run):
    path = run.save_model_summary(Counting(), input_size=(3, 5))

    (warning,) = warnings_of(run)
    assert "lists parameters only" in warning
    assert "RuntimeError" in warning
    assert path.read_text().splitlines()[-1].split() == ["total", "(Counting)", "14", "14"]
    assert summary_of(run) == {
        "model": "Counting",
        "source": "parameters",
        "totals": {"parameters": 14, "trainable": 14},
        "layers": [
            {"name": "layer", "class": "Linear", "parameters": 10, "trainable": 10},
            {"name": "norm", "class": "BatchNorm1d", "parameters": 4, "trainable": 4},
        ],
    }


def test_without_torchinfo_the_parameters_are_listed_and_the_extra_is_named(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchinfo", None)
    run.save_model_summary(Counting(), input_size=(3, 4))

    (warning,) = warnings_of(run)
    assert 'pip install "expkit-bookkeeping[torch]"' in warning
    assert summary_of(run)["totals"]["parameters"] == 14


def test_a_shared_parameter_counts_once(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchinfo", None)
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    model[1].bias.requires_grad = False

    run.save_model_summary(model)

    assert summary_of(run)["totals"] == {"parameters": 15, "trainable": 12}


def test_a_lazy_model_stays_lazy(run):
    model = nn.LazyLinear(2)
    run.save_model_summary(model, input_size=(3, 4))

    assert isinstance(model, nn.LazyLinear)
    assert "lazy" in warnings_of(run)[0]


@needs_torchinfo
def test_a_compiled_model_is_summarised_without_its_wrapper(run):
    run.save_model_summary(torch.compile(Counting()), input_size=(3, 4))

    assert summary_of(run)["model"] == "Counting"


def test_no_model_is_an_error(run):
    with pytest.raises(TypeError, match=r"takes a torch\.nn\.Module, not a dict"):
        run.save_model_summary({})


@pytest.mark.gpu
@needs_torchinfo
def test_the_model_stays_on_its_device(run):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    model = Counting()
    run.save_model_summary(model, input_size=(3, 4))
    assert model.layer.weight.device.type == "cpu"

    model.cuda()
    run.save_model_summary(model, input_size=(3, 4))
    assert model.layer.weight.device.type == "cuda"
    assert warnings_of(run) == []
