"""Rules: from the forms that `_filters` accepts to objects with one question, `holds`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ._decisions import Candidate
from ._errors import FilterError
from ._expressions import Expression
from ._names import MISSING, flatten, look_up, near, split

TYPE_CHECKING = False
if TYPE_CHECKING:
    from expkit_bookkeeping import RunRecord

FORMS = (
    "A rule is an expression (\"model.name == 'mlp'\"), a mapping of keys to values "
    "({model.name: mlp}), {exists: metrics.csv}, {completed: true} or a class with its arguments "
    "({my_package.MyRule: {limit: 3}})"
)
CLASS_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*\.[A-Z]\w*")


@dataclass(frozen=True)
class Rule:
    """What all rules have; a subclass answers `holds`.

    Attributes:
        text: The rule as messages and tables show it.
        names: Dotted names that it reads.
        optional: Those of them that a configuration may lack.
        about_state: Whether it asks what has been done rather than how the run is configured.
        kind: Of the decision when it holds: `rule`, or `completed` for rules that mean done.
    """

    text: str
    names: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    about_state: bool = False
    kind: str = "rule"

    def holds(self, run: Candidate, record: RunRecord | None) -> bool | str:
        """Whether the run is to be skipped; a text is a reason to."""
        raise NotImplementedError


@dataclass(frozen=True)
class ExpressionRule(Rule):
    expression: Expression = field(kw_only=True)
    reason: str | None = None

    def holds(self, run: Candidate, record: RunRecord | None) -> bool | str:
        return self.expression(run.config) and (self.reason or True)


@dataclass(frozen=True)
class MappingRule(Rule):
    values: tuple[tuple[str, object], ...] = ()

    def holds(self, run: Candidate, record: RunRecord | None) -> bool | str:
        return all(
            _matches(look_up(run.config, split(name)), wanted) for name, wanted in self.values
        )


@dataclass(frozen=True)
class ExistsRule(Rule):
    path: str = ""

    def holds(self, run: Candidate, record: RunRecord | None) -> bool | str:
        if run.folder is None:
            raise FilterError(f"looks for {self.path!r} but the run has no folder; give one")
        return (run.folder / self.path).exists()


@dataclass(frozen=True)
class CompletedRule(Rule):
    completed: bool = True

    def holds(self, run: Candidate, record: RunRecord | None) -> bool | str:
        return (record is not None and record.state == "completed") is self.completed


@dataclass(frozen=True)
class ClassRule(Rule):
    instance: object = None

    def holds(self, run: Candidate, record: RunRecord | None) -> bool | str:
        try:
            answer: object = self.instance.skip(run.config, run)  # type: ignore[attr-defined]
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
        return _expression_rule(rule, None)
    if not isinstance(rule, Mapping) or not rule:
        raise FilterError(f"{rule!r} is no rule. {FORMS}.")
    rule = {str(key): _plain(value) for key, value in rule.items()}
    _refuse_interpolations(rule)
    if "expr" in rule:
        _refuse_others(rule, "expr", "reason")
        reason = rule.get("reason")
        if not isinstance(rule["expr"], str) or not isinstance(reason, (str, type(None))):
            raise FilterError(f"expr and reason are texts, got {rule!r}")
        return _expression_rule(rule["expr"], reason)
    if "exists" in rule:
        _refuse_others(rule, "exists")
        return _exists_rule(rule["exists"])
    if "completed" in rule:
        _refuse_others(rule, "completed")
        if not isinstance(rule["completed"], bool):
            raise FilterError(f"completed: is true or false, got {rule['completed']!r}")
        text = f"completed: {str(rule['completed']).lower()}"
        kind = "completed" if rule["completed"] else "rule"
        return CompletedRule(text, about_state=True, kind=kind, completed=rule["completed"])
    name = next(iter(rule))
    arguments = rule[name] or {}
    if len(rule) == 1 and CLASS_NAME.fullmatch(name) and isinstance(arguments, dict):
        return _class_rule(name, arguments)
    for key in ("_target_", "type", "_log_", "_fail_"):
        if key in rule and len(rule) > 1:
            raise FilterError(f"{rule!r} is no rule of expkit-filter ({key!r}). {FORMS}.")
    values = tuple(flatten(rule))
    text = ", ".join(f"{key}: {value}" for key, value in values)
    names = frozenset(key for key, _ in values)
    return MappingRule(text, names, values=values)


def _expression_rule(text: str, reason: str | None) -> ExpressionRule:
    expression = Expression(text)
    line = " ".join(text.split())
    return ExpressionRule(
        line, expression.names, expression.optional, expression=expression, reason=reason
    )


def _exists_rule(path: object) -> ExistsRule:
    if not isinstance(path, str) or not path:
        raise FilterError(f"exists: takes a path inside the run's folder, got {path!r}")
    if path.startswith(("/", "\\", "~")) or ".." in re.split(r"[/\\]", path) or ":" in path[:2]:
        raise FilterError(f"exists: {path!r} leads out of the run's folder; write a path inside it")
    return ExistsRule(f"exists: {path}", about_state=True, kind="completed", path=path)


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
        instance: object = found(**arguments)
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
    return ClassRule(f"{name}({given})", instance=instance)


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
                guess = near(part, classes, 1)
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
