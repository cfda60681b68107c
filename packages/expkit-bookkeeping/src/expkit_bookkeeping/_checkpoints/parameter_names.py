"""Names of an optimizer's parameters, by which its state is restored: its own order may change.

`state_dict` of an optimizer numbers the parameters in the order in which it was given them. After a
refactoring that reorders the layers of a model the numbers mean others, of the same shape perhaps.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import cast

from .states import name_cleaner, unwrap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from torch import Tensor

Names = list[str]  # of one parameter; several if it is tied, none if no module has it
GroupNames = list[list[Names]]  # by group and place in the group


def parameter_names(objects: Mapping[str, object]) -> dict[str, GroupNames]:
    """The names of the parameters of all optimizers among `objects`, found by identity.

    Args:
        objects: What is saved or restored, by name; modules among it give the names,
            `model.layer.weight`. Where none has a parameter, the name counts that the optimizer was
            given itself.
    """
    optimizers = {
        name: groups for name, value in objects.items() if (groups := _groups(value)) is not None
    }
    if not optimizers:
        return {}
    names: dict[int, Names] = {}
    for prefix, value in objects.items():
        for parameter, name in _named_parameters(value):
            names.setdefault(id(parameter), []).append(f"{prefix}.{name}")
    return {
        name: [_names_of(group, names) for group in groups] for name, groups in optimizers.items()
    }


def in_order_of(
    state: object, saved: GroupNames, wanted: GroupNames, optimizer: object, name: str
) -> object:
    """An optimizer's state in the order of its parameters now.

    Args:
        state: Its saved `state_dict`.
        saved: The names of the parameters in it.
        wanted: The names of the parameters that the optimizer has now.
        optimizer: The optimizer.
        name: What to call it in errors.

    Raises:
        ValueError: If the names do not lead from one order to the other.
    """
    if not any(map(any, saved)) or not any(map(any, wanted)):
        return state  # by order, as no names are known
    groups = _saved_groups(state, saved)
    if groups is None:
        return state  # of a class that does not number its parameters
    places = _places(saved, wanted, name)
    if places == [(at, list(range(len(group)))) for at, group in enumerate(wanted)]:
        return state
    if "LBFGS" in {kind.__name__ for kind in type(optimizer).__mro__}:
        raise ValueError(
            f"The parameters of {name} are in another order than when it was saved, and the state "
            "of LBFGS is one for all of them. Give them to it in the saved order."
        )
    assert isinstance(state, Mapping)
    return {**state, "param_groups": [_reordered(groups[at], order) for at, order in places]}


def changes_groups(saved: GroupNames, wanted: GroupNames, name: str) -> bool:
    """Whether the groups of an optimizer are in another order than when it was saved."""
    if not any(map(any, saved)) or not any(map(any, wanted)):
        return False
    return [at for at, _ in _places(saved, wanted, name)] != list(range(len(wanted)))


def _groups(value: object) -> list[Mapping[str, object]] | None:
    """The groups of an optimizer's parameters; None if it is none."""
    groups = getattr(value, "param_groups", None)
    if not isinstance(groups, list) or isinstance(value, type):
        return None
    if all(
        isinstance(group, Mapping) and isinstance(group.get("params"), list) for group in groups
    ):
        return groups
    return None


def _named_parameters(value: object) -> Iterator[tuple[Tensor, str]]:
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(value, torch.nn.Module):
        return
    module = unwrap(value)
    clean: Callable[[str], str] | None = None
    for name, parameter in module.named_parameters(remove_duplicate=False):
        if "module." in name or "_orig_mod." in name:  # a wrapped part, perhaps
            clean = clean or name_cleaner(module)
            yield parameter, clean(name)
        else:
            yield parameter, name


def _names_of(group: Mapping[str, object], names: Mapping[int, Names]) -> list[Names]:
    parameters = cast("list[object]", group["params"])
    own = group.get("param_names")  # where the optimizer was given named_parameters()
    if not isinstance(own, list) or len(own) != len(parameters):
        own = [None] * len(parameters)
    return [
        sorted(names.get(id(parameter), [] if name is None else [str(name)]))
        for parameter, name in zip(parameters, own, strict=True)
    ]


def _saved_groups(state: object, saved: GroupNames) -> list[Mapping[str, object]] | None:
    groups = state.get("param_groups") if isinstance(state, Mapping) else None
    if not isinstance(groups, list) or len(groups) != len(saved):
        return None
    for group, names in zip(groups, saved, strict=True):
        numbers = group.get("params") if isinstance(group, Mapping) else None
        if not isinstance(numbers, list) or len(numbers) != len(names):
            return None
        if not all(type(number) is int for number in numbers):
            return None
    return groups


def _places(saved: GroupNames, wanted: GroupNames, name: str) -> list[tuple[int, list[int]]]:
    """For each group now, the saved group and the places in it, in the order of now."""
    at_name = {
        one: (group, place)
        for group, parameters in enumerate(saved)
        for place, names in enumerate(parameters)
        for one in names
    }
    found: list[list[tuple[int, int] | None]] = []
    missing: list[str] = []
    for parameters in wanted:
        found.append([])
        for names in parameters:
            spots = {at_name[one] for one in names if one in at_name}
            if len(spots) > 1:
                raise ValueError(
                    f"{name} has one state for {' and '.join(names)}, which are one parameter now "
                    "and were several when it was saved."
                )
            if names and not spots:
                missing.append(names[0])
            found[-1].append(next(iter(spots), None))
    taken = [spot for group in found for spot in group if spot is not None]
    unused = sorted(one for one, spot in at_name.items() if spot not in set(taken))
    if missing or unused:
        raise ValueError(_other_names(name, missing, unused))
    if len(set(taken)) < len(taken):
        twice = sorted({spot for spot in taken if taken.count(spot) > 1})
        names = saved[twice[0][0]][twice[0][1]]
        raise ValueError(
            f"{name} was saved with one state for {' and '.join(names)}, which are several "
            "parameters now."
        )
    return _by_group(found, saved, name)


def _by_group(
    found: list[list[tuple[int, int] | None]], saved: GroupNames, name: str
) -> list[tuple[int, list[int]]]:
    """Complete the places by those of parameters without a name, which keep their order."""
    named_groups = [{spot[0] for spot in spots if spot is not None} for spots in found]
    claimed = set().union(*named_groups)
    nameless = iter([at for at in range(len(saved)) if at not in claimed])
    places = []
    for spots, groups in zip(found, named_groups, strict=True):
        at = next(iter(groups), None)
        if at is None:
            at = next(nameless, None)
        if at is None or len(groups) > 1 or len(spots) != len(saved[at]):
            raise ValueError(
                f"The parameters of {name} are in other groups than when it was saved: give them "
                "to it in the same groups."
            )
        rest = iter([place for place, names in enumerate(saved[at]) if not names])
        order = [next(rest, -1) if spot is None else spot[1] for spot in spots]
        if -1 in order:
            raise ValueError(_other_names(name, ["one without a name"], []))
        places.append((at, order))
    if len({at for at, _ in places}) != len(saved):
        raise ValueError(
            f"{name} was saved with {len(saved)} groups of parameters, and has {len(found)} now."
        )
    return places


def _other_names(name: str, missing: list[str], unused: list[str]) -> str:
    from difflib import get_close_matches

    facts = []
    if missing:
        near = get_close_matches(missing[0], unused, 1)
        was = f" (was it {near[0]}?)" if near else ""
        facts.append(f"there is no saved state of {_some(missing)}{was}")
    if unused:
        facts.append(f"{_some(unused)} is no longer a parameter of it")
    return (
        f"The parameters of {name} have other names than when it was saved: {', and '.join(facts)}."
        " Rename them back, or leave the optimizer out of resume() to start with a new state."
    )


def _some(names: list[str]) -> str:
    more = len(names) - 3
    return ", ".join(names[:3]) + (f" and {more} more" if more > 0 else "")


def _reordered(group: Mapping[str, object], order: list[int]) -> dict[str, object]:
    """A saved group with its parameters, and what there is one of per parameter, in an order."""
    result = dict(group)
    for key in ("params", "param_names"):
        values = group.get(key)
        if isinstance(values, list) and len(values) == len(order):
            result[key] = [values[place] for place in order]
    return result
