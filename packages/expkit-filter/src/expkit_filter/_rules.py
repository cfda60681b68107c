"""Rules: from the forms that `_filters` accepts to objects that answer one question, `holds`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ._dotted_names import MISSING, flatten, look_up, split
from ._errors import FilterError, MissingName
from ._expressions import Expression
from ._messages import did_you_mean_key, near_matches
from ._selection import Candidate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from expkit_bookkeeping import RunRecord

    class UserRule(Protocol):
        """An object of a user's class that is a rule."""

        def skip(self, config: Mapping[str, object], run: Candidate, /) -> object: ...


FORMS = (
    "A rule is an expression (\"model.name == 'mlp'\"), a mapping of keys to values "
    "({model.name: mlp}), {exists: metrics.csv}, {completed: true} or a class with its arguments "
    "({my_package.MyRule: {limit: 3}})"
)
CLASS_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*\.[A-Z]\w*")


class Rule:
    """What all rules have in common; a subclass answers `holds`.

    Plain classes: six dataclasses would cost a third of this package's import time.

    Attributes:
        text: The rule as messages and tables show it.
        names: The dotted names that it reads.
        optional: Those of them that a configuration may lack.
        about_state: Whether it asks what has been done rather than how the run is configured.
        needs_run: Whether it needs more than the values of `names`: the run's folder or its state.
            A class of the user may need anything.
        kind: The kind of the decision when it holds: `rule`, or `completed` for rules that mean
            done.
    """

    names: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    about_state: bool = False
    needs_run: bool = False
    kind: str = "rule"

    def __init__(self, text: str) -> None:
        self.text = text

    def holds(self, run: Candidate, record: RunRecord | None) -> bool | str:
        """Whether the run is to be skipped; a text is the reason to skip it.

        Args:
            run: The run. Unless the rule `needs_run`, its `config` need only have the values under
                `names`, and it may be flat (`{"optimizer.lr": 0.1}`).
            record: A completed run with its configuration, if there is one.

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
        for name, path, expected in self._values:
            value = config[name] if name in config else look_up(config, path)
            if not _matches(value, expected):
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
        """Whether it exists."""
        if run.folder is None:
            raise FilterError(f"looks for {self._path!r}, but the run has no folder; give one")
        return (run.folder / self._path).exists()


class CompletedRule(Rule):
    """Whether a run with this configuration has been completed."""

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
    """The user's own class, instantiated once."""

    needs_run = True

    def __init__(self, text: str, instance: UserRule) -> None:
        super().__init__(text)
        self._instance = instance

    def holds(self, run: Candidate, record: RunRecord | None) -> bool | str:
        """What `skip(config, run)` returns."""
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


def _matches(value: object, expected: object) -> bool:
    if value is MISSING:
        return False
    if isinstance(expected, (list, tuple)):
        if isinstance(value, Sequence) and not isinstance(value, str):
            return list(value) == list(expected)
        return value in expected  # the value is not a list, so the rule's list means one of these
    return value == expected


class MissingNameInRule(FilterError):
    """A rule read a name that the run lacks; what to say depends on the other runs of its grid."""

    def __init__(self, number: int, rule: Rule, run: Candidate, error: MissingName) -> None:
        subject = f"run {run.run_name!r}" if run.run_name else "the configuration"
        names = [name for name, _ in flatten(run.config)]
        super().__init__(
            f"{rule_title(number, rule)} reads {error.name!r}, which {subject} does not have."
            f"{did_you_mean_key(error.name, names)} If only some runs have it, ask first: "
            f"defined({error.name}) and …"
        )
        self.number = number
        self.rule = rule
        self.name = error.name


def apply_rule(number: int, rule: Rule, run: Candidate, record: RunRecord | None) -> bool | str:
    """Whether a rule holds for a run: `Rule.holds`, with errors that name both.

    Raises:
        FilterError: With the rule's number and text, and the run's name.
    """
    try:
        return rule.holds(run, record)
    except MissingName as error:
        raise MissingNameInRule(number, rule, run, error) from error
    except FilterError as error:
        subject = f"run {run.run_name!r}: " if run.run_name else ""
        raise FilterError(f"{rule_title(number, rule)}: {subject}{error}") from error


def rule_title(number: int, rule: Rule) -> str:
    """How messages call a rule: its number and its text."""
    return f"rule {number} ({rule.text})"


def parse_rules(rules: object) -> tuple[Rule, ...]:
    """The rules of a `_filters` list.

    Raises:
        FilterError: If it is not a list, or an entry is not a rule; gives the entry's number.
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
        raise FilterError(f"{rule!r} is not a rule. {FORMS}.")
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
            raise FilterError(f"{rule!r} is not a rule of expkit-filter ({key!r}). {FORMS}.")
    return MappingRule(rule)


def _exists_rule(path: object) -> ExistsRule:
    if not isinstance(path, str) or not path:
        raise FilterError(f"exists: takes a path inside the run's folder, got {path!r}")
    if path.startswith(("/", "\\", "~")) or ".." in re.split(r"[/\\]", path) or ":" in path[:2]:
        raise FilterError(f"exists: {path!r} is outside the run's folder; write a path inside it")
    return ExistsRule(path)


def _class_rule(name: str, arguments: dict[str, object]) -> ClassRule:
    rule_class = _import(name)
    if not isinstance(rule_class, type):
        raise FilterError(f"{name} is {rule_class!r}, not a class")
    if not callable(getattr(rule_class, "skip", None)):
        hint = "; rename its filter()" if callable(getattr(rule_class, "filter", None)) else ""
        raise FilterError(
            f"{name} has no method skip(config, run) that returns True, False or the reason to "
            f"skip{hint}"
        )
    try:
        instance: UserRule = rule_class(**arguments)
    except Exception as error:
        from inspect import signature

        try:
            expected = f". It takes {signature(rule_class)}"
        except (TypeError, ValueError):
            expected = ""
        raise FilterError(
            f"{name} cannot be made from {arguments!r}: {type(error).__name__}: {error}{expected}"
        ) from error
    call = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
    return ClassRule(f"{name}({call})", instance)


def _import(name: str) -> object:
    from importlib import import_module

    parts = name.split(".")
    for end in range(len(parts) - 1, 0, -1):
        module_name = ".".join(parts[:end])
        try:
            value: object = import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
                continue  # perhaps a class inside a class: try one level up
            raise FilterError(f"{module_name} cannot be imported: {error}") from error
        except Exception as error:
            raise FilterError(
                f"{module_name} cannot be imported: {type(error).__name__}: {error}"
            ) from error
        for part in parts[end:]:
            parent, value = value, getattr(value, part, None)
            if value is None:
                classes = [key for key, member in vars(parent).items() if isinstance(member, type)]
                matches = near_matches(part, classes, 1)
                hint = f" Did you mean {matches[0]!r}?" if matches else ""
                raise FilterError(f"{module_name} has no class {part!r}.{hint}")
        return value
    raise FilterError(
        f"no module {parts[0]!r} for the class {name}. It must be in the folder of the script or "
        "an installed package; a key of the configuration takes a plain value"
    )


def _refuse_others(rule: Mapping[str, object], *allowed: str) -> None:
    others = [key for key in rule if key not in allowed]
    if others:
        raise FilterError(
            f"{allowed[0]}: cannot be combined with {', '.join(map(repr, others))}. Make two rules "
            "(either is enough to skip) or write one expression."
        )


def _refuse_interpolations(value: object) -> None:
    if isinstance(value, str) and "${" in value:
        raise FilterError(
            f"{value!r} contains an interpolation. Rules read each run's own configuration: write "
            "an expression with the key's name, or read config[…] in the class."
        )
    if isinstance(value, Mapping):
        for item in value.values():
            _refuse_interpolations(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _refuse_interpolations(item)


def _plain(value: object) -> object:
    """Nested mappings and sequences, also Hydra's own, as dict and list.

    Not bookkeeping's walk: whatever else a rule holds is the argument of a class, and stays.
    """
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [_plain(item) for item in value]
    return value
