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
    assert 'pip install "expkit-bookkeeping[summary]"' in warning
    assert summary_of(run)["totals"]["parameters"] == 14


class Tied(nn.Module):
    """A language model in small: the output layer has the weights of the embedding."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(50, 8)
        self.middle = nn.Linear(8, 8)
        self.head = nn.Linear(8, 50, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens):
        return self.head(self.middle(self.embedding(tokens)))


class Shared(nn.Module):
    """One layer under three names, a frozen parameter, one of the model itself, a layer unused."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.again = self.layer
        self.parallel = nn.DataParallel(self.layer)
        self.unused = nn.Linear(3, 3)
        self.scale = nn.Parameter(torch.ones(5))
        self.layer.weight.requires_grad = False

    def forward(self, inputs):
        return self.again(self.layer(self.parallel(inputs)))


COUNTED = {
    "tied weights": (Tied, {"input_data": torch.zeros(2, 3, dtype=torch.long)}),
    "tied weights without input": (Tied, {}),
    "tied weights in a wrapper": (
        lambda: nn.DataParallel(Tied()),
        {"input_data": torch.zeros(2, 3, dtype=torch.long)},
    ),
    "a shared layer": (Shared, {"input_size": (2, 4)}),
    "a shared layer on the meta device": (lambda: Shared().to("meta"), {"input_size": (2, 4)}),
    "weight normalisation": (
        lambda: nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)),
        {"input_size": (2, 4)},
    ),
    "a recurrent layer": (lambda: nn.GRU(4, 4, num_layers=2), {"input_size": (1, 2, 4)}),
    "a model that fails": (Tied, {"input_size": (2, 3)}),
}


@needs_torchinfo
@pytest.mark.parametrize("case", COUNTED)
def test_totals_count_each_parameter_once(run, case):
    make, inputs = COUNTED[case]
    model = make()

    text = run.save_model_summary(model, **inputs).read_text()

    parameters = sum(parameter.numel() for parameter in model.parameters())
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    totals = summary_of(run)["totals"]
    assert (totals["parameters"], totals["trainable"]) == (parameters, trainable)
    if summary_of(run)["source"] == "torchinfo":
        assert f"Total params: {parameters}\n" in text
        assert f"Non-trainable params: {parameters - trainable}\n" in text
        assert totals.get("parameter_bytes", 4 * parameters) == 4 * parameters


@needs_torchinfo
def test_the_summary_says_which_parameters_are_shared(run):
    text = run.save_model_summary(Tied(), input_data=torch.zeros(2, 3, dtype=torch.long))

    note = "Shared parameters count once in the totals: head.weight is embedding.weight."
    assert summary_of(run)["notes"] == [note]
    assert text.read_text().splitlines()[-1] == note


@needs_torchinfo
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_the_summary_says_that_quantized_weights_do_not_count(run):
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    run.save_model_summary(torch.ao.quantization.quantize_dynamic(model), input_size=(2, 4))

    data = summary_of(run)
    assert data["totals"]["parameters"] == 0
    assert data["notes"] == ["Quantized weights are no parameters and do not count: 0."]


def test_a_shared_parameter_counts_once_without_torchinfo(run, monkeypatch):
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
    assert summary_of(run)["totals"] == {"parameters": 0, "trainable": 0}
    (note,) = summary_of(run)["notes"]
    assert note == "Lazy parameters have no size before the first input: weight, bias."


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
