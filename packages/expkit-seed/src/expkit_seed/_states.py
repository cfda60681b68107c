"""The states of all generators as plain values, taken and restored."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from contextlib import ContextDecorator
from typing import TypeVar, cast

from ._optional import import_installed
from ._seeding import seed_all
from ._streams import check_seed

TYPE_CHECKING = False
if TYPE_CHECKING:
    import random
    from types import TracebackType

    import numpy
    import torch

    Generator = torch.Generator | numpy.random.Generator | numpy.random.RandomState | random.Random

Setter = Callable[[], object]
F = TypeVar("F", bound=Callable[..., object])


def rng_state(generators: Mapping[str, Generator | None] | None = None) -> dict[str, object]:
    """The state of `random`, numpy, torch, all CUDA devices and named generators.

    It holds nothing but dict, list, int, float, str, None and tensors, so
    `torch.load(weights_only=True)` accepts it. It leaves out modules that are not imported, and
    CUDA before its first use.

    Args:
        generators: By name, such as a DataLoader's: torch's `Generator` on any device, numpy's
            `Generator` or `RandomState`, or `random.Random`. None, as of a DataLoader without one
            of its own, is left out: it draws from torch's global generator.

    Raises:
        TypeError: If a generator is none of these, or `generators` is not a mapping.
    """
    import random
    import sys

    named = _named_generators(generators)
    state: dict[str, object] = {"python": _python_state(random.getstate())}
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None:
        state["numpy"] = _plain(numpy.random.get_state(legacy=False))
    if torch is not None:
        state["torch"] = torch.get_rng_state()
        # Before its first use CUDA has only a seed, and asking for states would start it on all
        # devices.
        if torch.cuda.is_initialized():
            state["cuda"] = torch.cuda.get_rng_state_all()
    state["generators"] = {
        name: _generator_state(name, generator) for name, generator in named.items()
    }
    return state


def restore_rng_state(
    state: Mapping[str, object], generators: Mapping[str, Generator | None] | None = None
) -> None:
    """Restore what `rng_state` returned.

    Each difference (another number of CUDA devices, no CUDA, a generator that only one side has)
    is one warning, and the rest is restored.

    Args:
        state: From `rng_state`, also after `torch.load(map_location=…)`.
        generators: Those to restore, by the names under which they were saved; None is left out.

    Raises:
        TypeError: If a generator is of an unsupported type, or `generators` is not a mapping.
        ValueError: If a part is damaged or of another kind; nothing has been changed then.
    """
    if not isinstance(state, Mapping) or not isinstance(state.get("python"), (list, tuple)):
        raise ValueError(
            f"state must be what rng_state() returned, got {_shorten(state)}. Its keys would be "
            "python, numpy, torch, cuda and generators."
        )
    setters: list[Setter] = []
    notes: list[str] = []
    for part, prepare in (
        ("python", _prepare_python),
        ("numpy", _prepare_numpy),
        ("torch", _prepare_torch),
        ("cuda", _prepare_cuda),
    ):
        if part in state:
            setters += _prepared(part, prepare, state[part], notes)
    saved = state.get("generators") or {}
    if not isinstance(saved, Mapping):
        raise ValueError(f"RNG state: part 'generators' is damaged: {_shorten(saved)}")
    named = _named_generators(generators)
    for name, generator in named.items():
        if name in saved:
            setters.append(_generator_setter(name, generator, saved[name]))
    only_saved = [name for name in saved if name not in named]
    only_given = [name for name in named if name not in saved]
    for reason, names in (("saved but not given", only_saved), ("given but not saved", only_given)):
        if names:
            notes.append(f"named generators {reason}, so not restored: {', '.join(names)}")
    for set_state in setters:
        set_state()
    for note in notes:
        warnings.warn(note, stacklevel=2)


def isolated_rng(seed: int | None = None) -> IsolatedRng:
    """A context manager and decorator that restores all generators, also after an exception.

    Generators belong to the process: other threads draw from them too while the block runs.

    Args:
        seed: Seeds all generators at the start of the block; None leaves them as they are.

    Raises:
        TypeError: If `seed` is not an integer, or the decorated object is a generator or
            coroutine function.
        ValueError: If `seed` is out of range.

    Examples:
        >>> import random
        >>> random.seed(1)
        >>> with isolated_rng(7):
        ...     inside = random.random()
        >>> outside = random.random()
        >>> random.seed(1)
        >>> outside == random.random()
        True
    """
    return IsolatedRng(None if seed is None else check_seed(seed))


class IsolatedRng(ContextDecorator):
    """What `isolated_rng` returns; it can be nested in itself."""

    def __init__(self, seed: int | None) -> None:
        self._seed = seed
        self._outside: list[tuple[dict[str, object], Setter]] = []

    def __call__(self, function: F) -> F:
        """Isolate each call of a function.

        Raises:
            TypeError: If it is a generator or coroutine function, which does not run when it is
                called.
        """
        from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction

        for code in (function, type(function).__call__):  # an object is called through its class
            if isasyncgenfunction(code) or iscoroutinefunction(code) or isgeneratorfunction(code):
                name = getattr(function, "__qualname__", repr(function))
                raise TypeError(
                    f"isolated_rng cannot decorate {name}: calling a generator or coroutine "
                    "function runs none of its code. Use `with isolated_rng(…):` inside it, "
                    "around code that neither yields nor awaits."
                )
        return super().__call__(function)

    def __enter__(self) -> None:
        if self._seed is not None:
            # Import now what seed_all would import, so that its state is saved as well.
            for name in ("numpy", "torch"):
                import_installed(name)
        self._outside.append((rng_state(), _unused_cuda_setter(self._seed is not None)))
        if self._seed is not None:
            seed_all(self._seed)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        state, restore_cuda = self._outside.pop()
        restore_rng_state(state)
        restore_cuda()


def _unused_cuda_setter(is_seeded: bool) -> Setter:
    """Restores CUDA where it has no state yet, only a seed for its first use."""
    import sys

    torch = sys.modules.get("torch")
    if torch is None or torch.cuda.is_initialized():
        return lambda: None
    seed = torch.initial_seed()  # torch.manual_seed gives all devices the same seed

    def set_seed_of_cuda() -> None:
        if is_seeded or torch.cuda.is_initialized():
            torch.cuda.manual_seed_all(seed)

    return set_seed_of_cuda


def _named_generators(generators: object) -> dict[str, Generator]:
    if generators is not None and not isinstance(generators, Mapping):
        raise TypeError(
            "generators must be a mapping of names, such as {'loader': loader.generator}, got "
            f"{_shorten(generators)}"
        )
    return {name: value for name, value in (generators or {}).items() if value is not None}


def _python_state(state: tuple[object, ...]) -> list[object]:
    version, words, gauss = state
    return [version, list(words), gauss]  # type: ignore[call-overload]


def _generator_state(name: str, generator: object) -> dict[str, object]:
    kind = _kind(name, generator)
    if kind == "torch":
        return {"kind": kind, "state": generator.get_state()}  # type: ignore[attr-defined]
    if kind == "python":
        return {"kind": kind, "state": _python_state(generator.getstate())}  # type: ignore[attr-defined]
    if kind == "numpy legacy":
        return {"kind": kind, "state": _plain(generator.get_state(legacy=False))}  # type: ignore[attr-defined]
    return {"kind": kind, "state": _plain(generator.bit_generator.state)}  # type: ignore[attr-defined]


def _generator_setter(name: str, generator: object, saved: object) -> Setter:
    kind = _kind(name, generator)
    if not isinstance(saved, Mapping) or saved.get("kind") != kind:
        saved_kind = saved.get("kind") if isinstance(saved, Mapping) else _shorten(saved)
        raise ValueError(
            f"generator {name!r} was saved as {saved_kind!r}, but the one given is {kind!r}"
        )
    prepare = {
        "torch": _prepare_torch_generator,
        "python": _prepare_python_generator,
        "numpy legacy": _prepare_numpy_legacy,
        "numpy": _prepare_numpy_generator,
    }[kind]
    (setter,) = _prepared(
        f"generators.{name}", lambda state, _: [prepare(generator, state)], saved.get("state"), []
    )
    return setter


def _kind(name: str, generator: object) -> str:
    import random
    import sys

    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if torch is not None and isinstance(generator, torch.Generator):
        return "torch"
    if numpy is not None and isinstance(generator, numpy.random.Generator):
        return "numpy"
    if numpy is not None and isinstance(generator, numpy.random.RandomState):
        return "numpy legacy"
    # A SystemRandom is a Random that has no state.
    if isinstance(generator, random.Random) and not isinstance(generator, random.SystemRandom):
        return "python"
    raise TypeError(
        f"generator {name!r} is of type {type(generator).__name__}; it must be a torch.Generator, "
        "numpy.random.Generator, numpy.random.RandomState or random.Random"
    )


def _prepared(
    part: str,
    prepare: Callable[[object, list[str]], list[Setter]],
    state: object,
    notes: list[str],
) -> list[Setter]:
    """Setters for one part, tried on a copy first: a damaged state must not be restored in part."""
    try:
        return prepare(state, notes)
    except Exception as error:
        raise ValueError(
            f"RNG state: part {part!r} is damaged or of another kind: {error}"
        ) from error


def _prepare_python(state: object, notes: list[str]) -> list[Setter]:
    import random

    return [_prepare_python_generator(random, state)]


def _prepare_python_generator(generator: object, state: object) -> Setter:
    import random

    version, words, gauss = cast("tuple[int, list[int], float | None]", state)
    python_state = (version, tuple(words), gauss)
    random.Random().setstate(python_state)
    return lambda: generator.setstate(python_state)  # type: ignore[attr-defined]


def _prepare_numpy(state: object, notes: list[str]) -> list[Setter]:
    numpy = import_installed("numpy")
    if numpy is None:
        notes.append("the state of numpy is not restored: numpy is not installed")
        return []
    return [_prepare_numpy_legacy(numpy.random, state)]


def _prepare_numpy_legacy(generator: object, state: object) -> Setter:
    import numpy

    numpy_state = _with_arrays(state)
    bit_generator = generator.get_state(legacy=False)["bit_generator"]  # type: ignore[attr-defined]
    trial = numpy.random.RandomState(getattr(numpy.random, bit_generator)())
    trial.set_state(numpy_state)  # type: ignore[arg-type]
    return lambda: generator.set_state(numpy_state)  # type: ignore[attr-defined]


def _prepare_numpy_generator(generator: object, state: object) -> Setter:
    numpy_state = _with_arrays(state)
    bit_generator = generator.bit_generator  # type: ignore[attr-defined]
    trial = type(bit_generator)()
    trial.state = numpy_state
    return lambda: setattr(bit_generator, "state", numpy_state)


def _prepare_torch(state: object, notes: list[str]) -> list[Setter]:
    torch = import_installed("torch")
    if torch is None:
        notes.append("the state of torch is not restored: torch is not installed")
        return []
    return [_prepare_torch_generator(torch.default_generator, state)]


def _prepare_torch_generator(generator: object, state: object) -> Setter:
    import torch

    # map_location may have moved the state to the GPU; generators accept it from the CPU only.
    words = state.detach().cpu()  # type: ignore[attr-defined]
    torch.Generator(device=generator.device).set_state(words)  # type: ignore[attr-defined]
    return lambda: generator.set_state(words)  # type: ignore[attr-defined]


def _prepare_cuda(state: object, notes: list[str]) -> list[Setter]:
    states = [words.detach().cpu() for words in state]  # type: ignore[attr-defined]
    torch = import_installed("torch")
    device_count = 0 if torch is None else torch.cuda.device_count()
    if len(states) != device_count:
        notes.append(
            f"RNG states of {len(states)} CUDA devices were saved, and this machine has "
            f"{device_count}: {min(len(states), device_count)} restored; the CPU's state is "
            "restored in full"
        )
    if torch is None or not device_count or not states:
        return []
    # Not lazily: at CUDA's first use, pending seeds are set after pending states and would win.
    torch.cuda.init()
    return [
        _prepare_torch_generator(torch.cuda.default_generators[index], words)
        for index, words in enumerate(states[:device_count])
    ]


def _plain(value: object) -> object:
    """A nested state of numpy, with arrays as lists and numpy's numbers as Python's."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        return value.tolist()
    return value


def _with_arrays(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _with_arrays(item) for key, item in value.items()}
    if isinstance(value, list):
        import numpy

        return numpy.array(value, dtype=numpy.uint64)
    return value


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"
