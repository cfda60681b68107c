"""Summary of a model as text and YAML, made without leaving a trace in the run.

torchinfo runs the model once. Its version 1.8 gives all sub-modules the root's train flag
afterwards, so that a frozen BatchNorm trains again; everything is put back here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._checkpoints.rng import restore_rng_state, rng_state
from .._checkpoints.states import unwrap
from .._files.durable import Check, write_file
from .._files.yaml_files import yaml_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    import torch
    from torch import nn

COLUMNS = ("input_size", "output_size", "num_params", "trainable", "mult_adds")


@dataclass(frozen=True)
class Layer:
    """A module that has parameters of its own."""

    name: str
    kind: str
    parameters: int
    trainable: int


def save_model_summary(
    folder: Path,
    model: object,
    check: Check | None = None,
    /,
    *,
    input_size: Sequence[int] | Sequence[Sequence[int]] | None = None,
    input_data: object = None,
    report: Callable[[str], None],
    **kwargs: object,
) -> Path:
    """Write `model_summary.txt` and `model_summary.yaml` of a run folder.

    With torchinfo and an input, the model runs once in eval mode and the shapes of all layers are
    listed. Without them, or if that fails, the parameters are listed and `report` hears why: a
    summary never stops a run. Afterwards device, train flags, buffers, hooks and random states are
    what they were.

    Totals count each parameter of `model.parameters()` once, wherever it is shared. Notes below
    them name shared parameters, and weights that `parameters()` does not have.

    Args:
        folder: The run folder.
        model: The module; wrappers of DistributedDataParallel and `torch.compile` are removed.
        check: See `write_file`.
        input_size: Shape of the input with its batch, `(1, 1, 8, 8)`, or several shapes.
        input_data: Instead: a tensor, a tuple or list of arguments, or a dict of named ones.
        report: Called once with a sentence if torchinfo could not be used.
        **kwargs: More arguments of the model's `forward`.

    Returns:
        The text file.

    Raises:
        TypeError: If the model is not a module, or both kinds of input are given.
        OSError: If a file could not be written.
    """
    from .._optional import torch

    if not isinstance(model, torch.nn.Module):
        raise TypeError(
            f"save_model_summary takes a torch.nn.Module, not a {type(model).__name__}."
        )
    if input_size is not None and input_data is not None:
        raise TypeError("save_model_summary takes input_size or input_data, not both.")
    module = unwrap(model)
    described = None
    try:
        if any(map(torch.nn.parameter.is_lazy, [*module.parameters(), *module.buffers()])):
            raise RuntimeError("it has lazy modules, which the first input would initialise")
        described = _by_torchinfo(module, input_size, input_data, kwargs)
    except ImportError as error:
        report(f"The model summary lists parameters only. {error}")
    except Exception as error:
        cause = error.__cause__ or error
        report(
            f"The model summary lists parameters only, as torchinfo could not run the model: "
            f"{type(cause).__name__}: {_first_line(cause)}"
        )
    text, data = _by_parameters(module) if described is None else described
    if notes := _notes(module):
        text = "\n".join([text, *notes])
        data["notes"] = notes
    write_file(folder / "model_summary.yaml", yaml_text(data, compact=True), check=check)
    write_file(folder / "model_summary.txt", text + "\n", check=check)
    return folder / "model_summary.txt"


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "")[:300]


def _totals(module: nn.Module) -> dict[str, int]:
    """What `parameters()` has, which gives a shared parameter once."""
    counts = [(_size(parameter), parameter) for parameter in module.parameters()]
    return {
        "parameters": sum(size for size, _ in counts),
        "trainable": sum(size for size, parameter in counts if parameter.requires_grad),
        "parameter_bytes": sum(size * parameter.dtype.itemsize for size, parameter in counts),
    }


def _size(parameter: nn.Parameter) -> int:
    from .._optional import torch

    return 0 if torch.nn.parameter.is_lazy(parameter) else parameter.numel()


def _notes(module: nn.Module) -> list[str]:
    """What the rows of layers and the totals do not agree on, one sentence each."""
    from .._optional import torch

    first: dict[int, str] = {}
    shared: list[str] = []
    lazy: list[str] = []
    for name, parameter in module.named_parameters(remove_duplicate=False):
        if id(parameter) in first:
            shared.append(f"{name} is {first[id(parameter)]}")
        else:
            first[id(parameter)] = name
            if torch.nn.parameter.is_lazy(parameter):
                lazy.append(name)
    packed = [
        name or "(model)"
        for name, part in module.named_modules()
        # A quantized layer of torch.ao, which packs its weights into an object, or a module.
        if hasattr(part, "_packed_params") and not name.endswith("_packed_params")
    ]
    notes = []
    if shared:
        notes.append(f"Shared parameters count once in the totals: {_listed(shared)}.")
    if lazy:
        notes.append(f"Lazy parameters have no size before the first input: {_listed(lazy)}.")
    if packed:
        notes.append(f"Quantized weights are no parameters and do not count: {_listed(packed)}.")
    return notes


def _listed(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _by_parameters(module: nn.Module) -> tuple[str, dict[str, object]]:
    layers = []
    counted: set[int] = set()  # a shared parameter counts once, where it comes first
    for name, part in module.named_modules():
        own = [p for p in part.parameters(recurse=False) if id(p) not in counted]
        counted.update(map(id, own))
        if own:
            layers.append(
                Layer(
                    name or "(model)",
                    type(part).__name__,
                    sum(map(_size, own)),
                    sum(_size(parameter) for parameter in own if parameter.requires_grad),
                )
            )
    totals = _totals(module)
    parameters, trainable = totals["parameters"], totals["trainable"]
    rows = [(f"{x.name} ({x.kind})", f"{x.parameters:,}", f"{x.trainable:,}") for x in layers]
    rows = [("layer", "parameters", "trainable"), *rows]
    rows.append((f"total ({type(module).__name__})", f"{parameters:,}", f"{trainable:,}"))
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = [f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}" for a, b, c in rows]
    rule = "-" * len(lines[0])
    data: dict[str, object] = {
        "model": type(module).__name__,
        "source": "parameters",
        "totals": {"parameters": parameters, "trainable": trainable},
        "layers": [
            {"name": x.name, "class": x.kind, "parameters": x.parameters, "trainable": x.trainable}
            for x in layers
        ],
    }
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]]), data


def _by_torchinfo(
    module: nn.Module, input_size: Any, input_data: Any, kwargs: Mapping[str, Any]
) -> tuple[str, dict[str, object]]:
    from .._optional import torchinfo

    has_input = input_size is not None or input_data is not None
    if not has_input and kwargs:
        input_data, kwargs, has_input = dict(kwargs), {}, True  # all inputs by name
    tensors = [*module.parameters(), *module.buffers()]
    devices = {tensor.device for tensor in tensors}
    if len(devices) > 1:
        # torchinfo would move the whole model to one device.
        raise RuntimeError(f"it is spread over {', '.join(sorted(map(str, devices)))}")
    options: dict[str, Any] = {"col_names": COLUMNS} if has_input else {}
    if devices:
        options["device"] = next(iter(devices))
    if input_size is not None:
        options["dtypes"] = _input_dtypes(tensors, input_size)
    with _unchanged(module):
        try:
            result = torchinfo.summary(
                module,
                input_size=input_size,
                input_data=input_data,
                verbose=0,
                depth=100,
                row_settings=("depth", "var_names"),
                **options,
                **kwargs,
            )
        finally:
            torchinfo.torchinfo.clear_cached_forward_pass()  # it would keep the model alive
    counted = _totals(module)
    # torchinfo adds up its rows, in which a shared parameter stands once for each of its layers.
    result.total_params = counted["parameters"]
    result.trainable_params = counted["trainable"]
    result.total_param_bytes = counted["parameter_bytes"]
    totals = {"parameters": counted["parameters"], "trainable": counted["trainable"]}
    if has_input:
        totals |= {
            "mult_adds": result.total_mult_adds,
            "input_bytes": result.total_input,
            "forward_backward_bytes": result.total_output_bytes,
            "parameter_bytes": counted["parameter_bytes"],
        }
    layers = [_layer_entry(info, has_input) for info in result.summary_list]
    data: dict[str, object] = {
        "model": type(module).__name__,
        "source": "torchinfo",
        "totals": totals,
        "layers": layers,
    }
    return str(result), data


def _layer_entry(info: Any, has_input: bool) -> dict[str, object]:
    entry: dict[str, object] = {
        "name": _dotted_name(info),
        "class": info.class_name,
        "depth": info.depth,
        "parameters": max(0, info.num_params),
        "trainable": max(0, info.trainable_params),
    }
    if has_input:
        entry |= {
            "input_size": _to_lists(info.input_size),
            "output_size": _to_lists(info.output_size),
        }
        if info.is_leaf_layer:  # for a container it is not the sum, but meaningless
            entry["mult_adds"] = info.macs
    return entry


def _dotted_name(info: Any) -> str:
    if info.parent_info is None:
        return "(model)"
    outer = _dotted_name(info.parent_info)
    return str(info.var_name) if outer == "(model)" else f"{outer}.{info.var_name}"


def _to_lists(size: object) -> object:
    return [_to_lists(part) for part in size] if isinstance(size, (list, tuple)) else size


def _input_dtypes(tensors: Sequence[torch.Tensor], input_size: object) -> list[torch.dtype]:
    """The weights' dtype for each input, as a half-precision model refuses float32."""
    from .._optional import torch

    floating = [tensor.dtype for tensor in tensors if tensor.is_floating_point()]
    several = isinstance(input_size, (list, tuple)) and isinstance(input_size[0], (list, tuple))
    count = len(input_size) if several and isinstance(input_size, (list, tuple)) else 1
    return [floating[0] if floating else torch.float32] * count


@contextlib.contextmanager
def _unchanged(module: nn.Module) -> Iterator[None]:
    """Restore train flags, buffers, hooks and random states of a module at the end."""
    from .._optional import torch

    modules = list(module.modules())
    flags = [part.training for part in modules]
    hooks = [(dict(part._forward_hooks), dict(part._forward_pre_hooks)) for part in modules]
    buffers = [
        (part, name, buffer, None if buffer is None else buffer.detach().clone())
        for part in modules
        for name, buffer in part._buffers.items()
    ]
    random_states = rng_state()
    try:
        yield
    finally:
        for part, training, (after, before) in zip(modules, flags, hooks, strict=True):
            part.training = training
            for now, then in ((part._forward_hooks, after), (part._forward_pre_hooks, before)):
                for key in [key for key in now if key not in then]:
                    del now[key]
        with torch.no_grad():
            for part, name, buffer, value in buffers:
                part._buffers[name] = buffer  # some models replace theirs in forward
                if buffer is not None and value is not None:
                    buffer.copy_(value)
        restore_rng_state(random_states, report=lambda text: None)
