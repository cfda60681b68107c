"""Which keyword arguments a call takes, through `**kwargs` too where the code says it clearly."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from functools import partial
from types import FunctionType, MethodType
from typing import Any, NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ast
    from collections.abc import Iterator, Mapping
    from inspect import Parameter
    from typing import TypeAlias

    Parameters: TypeAlias = Mapping[str, Parameter]

_MOST_CALLS = 10  # followed from one to the next; a function may pass its arguments to itself


def read_parameters(entry: Callable[..., object]) -> Parameters | None:
    """The parameters by name, with annotations evaluated if possible; None if unknown."""
    from inspect import signature

    try:
        return signature(entry, eval_str=True).parameters
    except Exception:  # evaluating the annotations of others may raise anything
        pass
    try:
        return signature(entry).parameters
    except (TypeError, ValueError):  # some callables written in C have no signature
        return None


def keywords_of(parameters: Parameters) -> dict[str, Parameter]:
    """Those that can be given by name."""
    return {
        name: parameter
        for name, parameter in parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }


def has_var_keyword(parameters: Parameters) -> bool:
    """Whether there is a `**kwargs`."""
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())


def all_keywords(entry: Callable[..., object]) -> dict[str, Parameter] | None:
    """Every keyword argument that the entry takes; None where that cannot be known.

    `**kwargs` is followed where the code of the entry does nothing with it but to pass it on, to
    `super().__init__` or to classes and functions that it names.
    """
    try:
        return _all_keywords(entry, _MOST_CALLS)
    except Exception:  # the code of others, and what its names stand for, may be anything
        return None


class _Method(NamedTuple):
    """What `super()` finds: a function, for instances of `cls`, that `owner` defines."""

    function: Any
    cls: type
    owner: type


def _all_keywords(target: object, calls: int) -> dict[str, Parameter] | None:
    code = _code_of(target)
    parameters = _parameters_of(target)
    if parameters is None:
        return None
    own = keywords_of(parameters)
    if not has_var_keyword(parameters):
        return own
    if code is None or not calls:
        return None
    forwarded: dict[str, Parameter] = {}
    for called, positional, given in _forwarding_calls(code):
        names = _all_keywords(called, calls - 1)
        if names is None:
            return None
        for name in [*_positional_names(called, positional), *given]:
            names.pop(name, None)
        for name, parameter in names.items():
            if forwarded.setdefault(name, parameter).annotation != parameter.annotation:
                forwarded[name] = parameter.replace(annotation=parameter.empty)
    return forwarded | own


def _parameters_of(target: object) -> Parameters | None:
    entry = target.function if isinstance(target, _Method) else target
    return read_parameters(entry) if callable(entry) else None


def _positional_names(target: object, count: int) -> list[str]:
    """The parameters that this many positional arguments fill, and a method's `self`."""
    names = [
        name
        for name, parameter in (_parameters_of(target) or {}).items()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    return names[: count + isinstance(target, _Method)]


def _code_of(target: object) -> _Method | None:
    """The function whose code decides where arguments go, as a method of its class if any."""
    while isinstance(target, partial):
        target = target.func
    if isinstance(target, _Method):
        return target
    if isinstance(target, type):
        if (
            type(target).__call__ is not type.__call__
            or any("__new__" in vars(cls) for cls in target.__mro__[:-1])
            or hasattr(target, "__signature__")
        ):
            return None
        return _defined("__init__", target, target.__mro__)
    function = target.__func__ if isinstance(target, MethodType) else target
    if not isinstance(function, FunctionType) or hasattr(function, "__wrapped__"):
        return None
    return _Method(function, object, object)


def _defined(name: str, cls: type, candidates: tuple[type, ...]) -> _Method | None:
    """The method of the first class that defines it."""
    for owner in candidates:
        if name in vars(owner):
            function = vars(owner)[name]
            if owner is object:
                return _Method(lambda self: None, cls, owner)  # takes no arguments
            plain = isinstance(function, FunctionType) and not hasattr(function, "__wrapped__")
            return _Method(function, cls, owner) if plain else None
    return None


def _forwarding_calls(method: _Method) -> Iterator[tuple[object, int, list[str]]]:
    """What gets the function's `**kwargs`, with the number and names of its other arguments.

    Raises:
        ValueError: If the function does anything else with it, or what it calls is not clear.
    """
    import ast
    from inspect import getsource
    from textwrap import dedent

    tree = ast.parse(dedent(getsource(method.function)))
    node = next(
        node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    )
    if node.args.kwarg is None:
        raise ValueError("the source is not the function's")
    name = node.args.kwarg.arg
    uses = sum(isinstance(part, ast.Name) and part.id == name for part in ast.walk(node))
    calls = [
        call
        for call in ast.walk(node)
        if isinstance(call, ast.Call)
        for keyword in call.keywords
        if keyword.arg is None and isinstance(keyword.value, ast.Name) and keyword.value.id == name
    ]
    if not calls or len(calls) != uses:
        raise ValueError(f"**{name} is dropped, or used in another way")
    for call in calls:
        starred = any(isinstance(argument, ast.Starred) for argument in call.args)
        given = [keyword.arg for keyword in call.keywords if keyword.arg is not None]
        yield _called(call.func, method), 0 if starred else len(call.args), given


def _called(function: ast.expr, method: _Method) -> object:
    """What an expression such as `super().__init__` or `nn.Linear` stands for in a function."""
    import ast

    if isinstance(function, ast.Name):
        code = method.function.__code__
        if function.id in code.co_varnames or function.id in code.co_cellvars:
            raise ValueError(f"{function.id} is a local name")
        if function.id in code.co_freevars:
            cells = method.function.__closure__ or ()
            return cells[code.co_freevars.index(function.id)].cell_contents
        scope = method.function.__globals__
        return scope[function.id] if function.id in scope else getattr(builtins, function.id)
    if isinstance(function, ast.Attribute):
        if isinstance(function.value, ast.Call):
            call = function.value
            if ast.unparse(call) == "super()" and function.attr == "__init__":
                mro = method.cls.__mro__
                following = mro[mro.index(method.owner) + 1 :]
                return _defined(function.attr, method.cls, following)
            raise ValueError("it is a method of what another call returns")
        return getattr(_called(function.value, method), function.attr)
    raise ValueError("it is not a name")
