"""Rules: from the forms that `_filters` accepts to objects with one question, `holds`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ._dotted_names import MISSING, flatten, look_up, split
from ._errors import FilterError
from ._expressions import Expression
from ._messages import near_matches
from ._selection import Candidate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from expkit_bookkeeping import RunRecord

    class Skips(Protocol):
        """What a rule's class must be."""

        def skip(self, config: Mapping[str, object], run: Candidate, /) -> object: ...


FORMS = (
    "A rule is an expression (\"model.name == 'mlp'\"), a mapping of keys to values "
    "({model.name: mlp}), {exists: metrics.csv}, {completed: true} or a class with its arguments "
    "({my_package.MyRule: {limit: 3}})"
)
CLASS_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*\.[A-Z]\w*")


class Rule:
    """What all rules have; a subclass answers `holds`.

    Plain classes: six dataclasses would cost a third of this package's import time.

    Attributes:
        text: The rule as messages and tables show it.
        names: Dotted names that it reads.
        optional: Those of them that a configuration may lack.
        about_state: Whether it asks what has been done rather than how the run is configured.
        needs_run: Whether it asks for more than the values of `names`: the run's folder or state
            or, a class of the user's, whatever it likes.
        kind: Of the decision when it holds: `rule`, or `completed` for rules that mean done.
    """

    names: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    about_state: bool = False
    needs_run: bool = False
    kind: str = "rule"

    def __init__(self, text: str) -> None:
        self.text = text

    def holds(self, run: Candidate, record: RunRecord | None) -> bool | str:
        """Whether the run is to be skipped; a text is a reason to.

        Args:
            run: The run. Unless the rule `needs_run`, the values under `names` are all that its
                `config` must have, and it may be flat (`{"optimizer.lr": 0.1}`).
            record: A completed run of its configuration, if there is one.

        Raises:
            FilterError: If the rule cannot be applied to this run.
        """
        raise NotImplementedError


class ExpressionRule(Rule):
    """A condition in the language of `Expression`."""

    def __init__(self, text: str, reason: str | None = None) -> None:
        super().__init__(" ".join(text.split()))
        self._expression = Expression(text)
        self._reason = reason
        self.names = self._expression.names
        self.optional = self._expression.optional

    def holds(self, run: Candidate, record: RunRecord | None) -> bool | str:
        """Whether the expression is true."""
        return self._expression(run.config) and (self._reason or True)


class MappingRule(Rule):
    """Keys and values that must all match."""

    def __init__(self, rule: Mapping[str, object]) -> None:
        self._values = tuple((name, split(name), value) for name, value in flatten(rule))
        super().__init__(", ".join(f"{name}: {value}" for name, _, value in self._values))
        self.names = frozenset(name for name, _, _ in self._values)

    def holds(self, run: Candidate, record: RunRecord | None) -> bool | str:
        """Whether all keys match; a missing one does not."""
        config = run.config
        for name, path, wanted in self._values:
            value = config[name] if name in config else look_up(config, path)
            if not _matches(value, wanted):
                return False
        return True


class ExistsRule(Rule):
    """A file or folder inside the run's folder."""

    about_state = True
    needs_run = True
    kind = "completed"

    def __init__(self, path: str) -> None:
        super().__init__(f"exists: {path}")
        self._path = path

    def holds(self, run: Candidate, record: RunRecord | None) -> bool | str:
        """Whether it is there."""
        if run.folder is None:
            raise FilterError(f"looks for {self._path!r} but the run has no folder; give one")
        return (run.folder / self._path).exists()


class CompletedRule(Rule):
    """Whether the run's configuration has been trained to the end."""

    about_state = True
    needs_run = True

    def __init__(self, completed: bool) -> None:
        super().__init__(f"completed: {str(completed).lower()}")
        self._completed = completed
        self.kind = "completed" if completed else "rule"

    def holds(self, run: Candidate, record: RunRecord | None) -> bool | str:
        """Whether it has been, or has not, as the rule asks."""
        return (record is not None) is self._completed


class ClassRule(Rule):
    """The user's own class, made once."""

    needs_run = True

    def __init__(self, text: str, instance: Skips) -> None:
        super().__init__(text)
        self._instance = instance

    def holds(self, run: Candidate, record: RunRecord | None) -> bool | str:
        """What `skip(config, run)` says."""
        try:
            answer = self._instance.skip(run.config, run)
        except Exception as error:
            raise FilterError(f"raised {type(error).__name__}: {error}") from error
        if answer is None:
            return False
        if not isinstance(answer, (bool, str)):
            raise FilterError(
                f"returned {answer!r}; skip() returns True, False or the reason to skip"
            )
        return answer


def _matches(value: object, wanted: object) -> bool:
    if value is MISSING:
        return False
    if isinstance(wanted, (list, tuple)):
        if isinstance(value, Sequence) and not isinstance(value, str):
            return list(value) == list(wanted)
        return value in wanted  # a value that is no list can only be meant as one of these
    return value == wanted


def parse_rules(rules: object) -> tuple[Rule, ...]:
    """The rules of a `_filters` list.

    Raises:
        FilterError: If it is no list, or one of its entries is no rule; names the entry by number.
    """
    if rules is None:
        return ()
    if isinstance(rules, (str, Mapping)) or not isinstance(rules, Sequence):
        raise FilterError(f"_filters is a list of rules, got {rules!r}. {FORMS}.")
    parsed = []
    for number, rule in enumerate(rules, start=1):
        try:
            parsed.append(_parse_rule(rule))
        except FilterError as error:
            raise FilterError(f"rule {number}: {error}") from error
    return tuple(parsed)


def _parse_rule(rule: object) -> Rule:
    if isinstance(rule, Rule):
        return rule
    if isinstance(rule, str):
        return ExpressionRule(rule)
    if not isinstance(rule, Mapping) or not rule:
        raise FilterError(f"{rule!r} is no rule. {FORMS}.")
    rule = {str(key): _plain(value) for key, value in rule.items()}
    _refuse_interpolations(rule)
    if "expr" in rule:
        _refuse_others(rule, "expr", "reason")
        reason = rule.get("reason")
        if not isinstance(rule["expr"], str) or not isinstance(reason, (str, type(None))):
            raise FilterError(f"expr and reason are texts, got {rule!r}")
        return ExpressionRule(rule["expr"], reason)
    if "exists" in rule:
        _refuse_others(rule, "exists")
        return _exists_rule(rule["exists"])
    if "completed" in rule:
        _refuse_others(rule, "completed")
        if not isinstance(rule["completed"], bool):
            raise FilterError(f"completed: is true or false, got {rule['completed']!r}")
        return CompletedRule(rule["completed"])
    name = next(iter(rule))
    arguments = {} if rule[name] is None else rule[name]
    if len(rule) == 1 and CLASS_NAME.fullmatch(name) and isinstance(arguments, dict):
        return _class_rule(name, arguments)
    for key in ("_target_", "type", "_log_", "_fail_"):
        if key in rule and len(rule) > 1:
            raise FilterError(f"{rule!r} is no rule of expkit-filter ({key!r}). {FORMS}.")
    return MappingRule(rule)


def _exists_rule(path: object) -> ExistsRule:
    if not isinstance(path, str) or not path:
        raise FilterError(f"exists: takes a path inside the run's folder, got {path!r}")
    if path.startswith(("/", "\\", "~")) or ".." in re.split(r"[/\\]", path) or ":" in path[:2]:
        raise FilterError(f"exists: {path!r} leads out of the run's folder; write a path inside it")
    return ExistsRule(path)


def _class_rule(name: str, arguments: dict[str, object]) -> ClassRule:
    found = _import(name)
    if not isinstance(found, type):
        raise FilterError(f"{name} is {found!r}, not a class")
    if not callable(getattr(found, "skip", None)):
        instead = "; rename its filter()" if callable(getattr(found, "filter", None)) else ""
        raise FilterError(
            f"{name} has no method skip(config, run) that returns True, False or the reason to "
            f"skip{instead}"
        )
    try:
        instance: Skips = found(**arguments)
    except Exception as error:
        from inspect import signature

        try:
            expected = f". It takes {signature(found)}"
        except (TypeError, ValueError):
            expected = ""
        raise FilterError(
            f"{name} cannot be made from {arguments!r}: {type(error).__name__}: {error}{expected}"
        ) from error
    given = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
    return ClassRule(f"{name}({given})", instance)


def _import(name: str) -> object:
    from importlib import import_module

    parts = name.split(".")
    for end in range(len(parts) - 1, 0, -1):
        module_name = ".".join(parts[:end])
        try:
            found: object = import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
                continue  # perhaps a class inside a class: one level up
            raise FilterError(f"{module_name} cannot be imported: {error}") from error
        except Exception as error:
            raise FilterError(
                f"{module_name} cannot be imported: {type(error).__name__}: {error}"
            ) from error
        for part in parts[end:]:
            owner, found = found, getattr(found, part, None)
            if found is None:
                classes = [key for key, value in vars(owner).items() if isinstance(value, type)]
                guess = near_matches(part, classes, 1)
                hint = f" Did you mean {guess[0]!r}?" if guess else ""
                raise FilterError(f"{module_name} has no class {part!r}.{hint}")
        return found
    raise FilterError(
        f"no module {parts[0]!r} for the class {name}. It is looked for in the folder of the "
        "script and among the installed packages; a key of the configuration takes a plain value"
    )


def _refuse_others(rule: Mapping[str, object], *known: str) -> None:
    others = [key for key in rule if key not in known]
    if others:
        raise FilterError(
            f"{known[0]}: does not go together with {', '.join(map(repr, others))}. Make two rules "
            "(either is enough to skip) or write one expression."
        )


def _refuse_interpolations(value: object) -> None:
    if isinstance(value, str) and "${" in value:
        raise FilterError(
            f"{value!r} holds an interpolation. Rules read each run's own configuration: write an "
            "expression with the key's name, or read config[…] in the class."
        )
    if isinstance(value, Mapping):
        for item in value.values():
            _refuse_interpolations(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _refuse_interpolations(item)


def _plain(value: object) -> object:
    """Nested mappings and sequences (of Hydra's kinds, too) as dict and list."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [_plain(item) for item in value]
    return value
