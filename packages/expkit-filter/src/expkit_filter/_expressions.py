"""The language of rules: Python's expressions, cut down to what a configuration needs.

Python's own parser reads the text. Each node is checked against a list of what is allowed, and the
result is compiled once. The compiled code has no attribute access and no builtins: every name is
looked up in the configuration, every function is one of `FUNCTIONS`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from keyword import iskeyword
from re import findall
from types import CodeType

from ._dotted_names import MISSING, KeyPath, is_defined, join, look_up, split
from ._errors import FilterError, MissingName
from ._functions import FUNCTIONS, METHODS
from ._messages import near_matches, shown
from ._operations import MOST_BITS, item, modulo, multiply, power

LONGEST_TEXT = 4000  # characters
DEEPEST_NESTING = 50  # far below where Python's own compiler overflows its stack
NO_COMMENTS = (
    "expressions have no comments, so '#' would hide the rest. Write comments outside the text, or "
    "give a reason ({expr: …, reason: …})."
)
EXAMPLE = "A rule is e.g. model.name == 'mlp' and optimizer.lr > 0.01"
CONSTANTS = {"true": True, "false": False, "null": None}  # as YAML writes them
OPERATORS: dict[type[ast.operator], Callable[..., object] | None] = {
    ast.Add: None,  # None: Python's own, whose result is hardly larger than its operands
    ast.Sub: None,
    ast.Div: None,
    ast.FloorDiv: None,
    ast.Mult: multiply,
    ast.Mod: modulo,
    ast.Pow: power,
}
COMPARISONS = (
    ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn, ast.Is, ast.IsNot
)  # fmt: skip
INSTEAD: dict[type[ast.AST], str] = {
    ast.BitAnd: "'&' (write: and)",
    ast.BitOr: "'|' (write: or)",
    ast.BitXor: "'^' (write: !=)",
    ast.Invert: "'~' (write: not)",
    ast.LShift: "'<<'",
    ast.RShift: "'>>'",
    ast.MatMult: "'@'",
    ast.Lambda: "lambda",
    ast.IfExp: "'… if … else …' (write: and, or)",
    ast.NamedExpr: "':='",
    ast.ListComp: "a comprehension",
    ast.SetComp: "a comprehension",
    ast.DictComp: "a comprehension",
    ast.GeneratorExp: "a comprehension",
    ast.JoinedStr: "an f-string",
    ast.Dict: "a mapping",
    ast.Slice: "a slice",
    ast.Starred: "'*'",
    ast.Await: "await",
}


class Expression:
    """A condition on a configuration, compiled once; call it with a configuration.

    It may contain dotted names of the configuration (`model.name`, `layers[0]`), numbers, texts,
    lists, `True False None` (also as YAML writes them), comparisons, `in`, `and or not`, arithmetic
    and `len abs min max round str int float startswith endswith defined`. It cannot reach anything
    else.

    Args:
        text: The expression, at most 4000 characters.

    Attributes:
        text: The text of the expression.
        names: All dotted names that it reads or asks about.
        optional: Those that it asks about with `defined()`.

    Raises:
        FilterError: If the text is not such an expression.

    Examples:
        >>> rule = Expression("model.name == 'cnn' and optimizer.lr > 0.01")
        >>> rule({"model": {"name": "cnn"}, "optimizer": {"lr": 0.1}})
        True
        >>> sorted(rule.names)
        ['model.name', 'optimizer.lr']
    """

    __slots__ = ("_flat", "_flat_key", "_function", "names", "optional", "text")

    text: str
    names: frozenset[str]
    optional: frozenset[str]

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise FilterError(f"An expression is a text, got {text!r}")
        translation = _Translation(text)
        self.text = text
        self._function = translation.function(is_flat=False)
        self._flat = translation.function(is_flat=True)
        self._flat_key = max(translation.flat_keys, key=lambda key: "." in key, default=None)
        self.names = frozenset(translation.names)
        self.optional = frozenset(translation.optional)

    def __call__(self, config: Mapping[str, object]) -> bool:
        """Whether the condition holds.

        Args:
            config: Nested, or flat (`{"optimizer.lr": 0.1}`), which is faster. If a name occurs
                in both forms, the flat one counts.

        Raises:
            FilterError: If a name is missing, an operation fails on these values, or the result is
                neither true nor false.
        """
        # Only a plain dict: a defaultdict would invent missing keys. Looking for one dotted key
        # mostly recognizes a nested configuration, at a tenth of the cost of an exception.
        if type(config) is dict and self._flat_key in config:
            try:
                value = self._flat(config)
            except Exception:  # not all of it is flat, or a real error: evaluated again below
                pass
            else:
                if value is True or value is False:
                    return value
        try:
            value = self._function(config)
        except FilterError:
            raise
        except (TypeError, ValueError, ArithmeticError, LookupError, RecursionError) as error:
            reason = error.args[0] if isinstance(error, KeyError) else error
            raise FilterError(f"{self.text!r} fails: {reason}{self._values(config)}") from error
        if value is True or value is False:
            return value
        if value is None or value in (0, 1):
            return bool(value)
        raise FilterError(
            f"{self.text!r} gives {shown(value)}, neither true nor false. "
            f"Compare it with something.{self._values(config)}"
        )

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def __reduce__(self) -> tuple[type[Expression], tuple[str]]:
        return Expression, (self.text,)

    def _values(self, config: Mapping[str, object]) -> str:
        """The values that the expression read, for messages."""
        values = {name: look_up(config, split(name)) for name in sorted(self.names)}
        texts = [f"{name}={shown(value)}" for name, value in values.items() if value is not MISSING]
        return f" (with {', '.join(texts)})" if texts else ""


class _Translation:
    """From text to functions of a configuration that look up each name when they need it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.names: set[str] = set()
        self.optional: set[str] = set()
        self._namespace: dict[str, object] = {"__builtins__": {}}
        self._tree = self._parse()
        self._is_flat = False
        self.flat_keys: list[str] = []

    def function(self, *, is_flat: bool) -> Callable[[Mapping[str, object]], object]:
        """The compiled function.

        Args:
            is_flat: Whether it takes keys joined by dots (`config["optimizer.lr"]`) and raises if
                one is missing.
        """
        self._is_flat = is_flat
        body = self._expression(self._tree, 0)
        arguments = ast.arguments(
            posonlyargs=[], args=[ast.arg("config")], kwonlyargs=[], kw_defaults=[], defaults=[]
        )
        tree = ast.fix_missing_locations(ast.Expression(ast.Lambda(arguments, body)))
        code: CodeType = compile(tree, "<rule>", "eval")
        function: Callable[[Mapping[str, object]], object] = eval(code, self._namespace)
        return function

    def _parse(self) -> ast.expr:
        if len(self.text) > LONGEST_TEXT:
            raise FilterError(
                f"An expression may have {LONGEST_TEXT} characters, this one has {len(self.text)}: "
                f"{self.text[:60]!r}…"
            )
        line = " ".join(self.text.split("\n")).strip()  # a block text of YAML has line ends
        if not line:
            raise FilterError("An expression is empty. Write one, or remove the rule.")
        try:
            tree = ast.parse(line, mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise FilterError(f"Cannot read {line!r}{_position(error, line)}") from error
        # A block text is one line now: a comment would swallow the conditions below it.
        if b"#" in line.encode()[tree.end_col_offset :]:
            raise FilterError(f"Cannot read {line!r}: {NO_COMMENTS}")
        return tree

    def _expression(self, node: ast.expr, depth: int) -> ast.expr:
        if depth > DEEPEST_NESTING:
            raise FilterError(f"More than {DEEPEST_NESTING} levels of nesting in {self.text!r}")
        translate = _TRANSLATORS.get(type(node))
        if translate is None:
            raise self._refusal(node)
        return translate(self, node, depth + 1)

    def _any_or_all(self, node: ast.BoolOp, depth: int) -> ast.expr:
        return ast.BoolOp(node.op, [self._expression(value, depth) for value in node.values])

    def _sign_or_not(self, node: ast.UnaryOp, depth: int) -> ast.expr:
        if isinstance(node.op, ast.Invert):
            raise self._refusal(node.op)
        return ast.UnaryOp(node.op, self._expression(node.operand, depth))

    def _arithmetic(self, node: ast.BinOp, depth: int) -> ast.expr:
        if type(node.op) not in OPERATORS:
            raise self._refusal(node.op)
        left, right = self._expression(node.left, depth), self._expression(node.right, depth)
        function = OPERATORS[type(node.op)]
        if function is None:
            return ast.BinOp(left, node.op, right)
        return self._call_of(function, left, right)

    def _comparison(self, node: ast.Compare, depth: int) -> ast.expr:
        for operator, right in zip(node.ops, node.comparators, strict=True):
            if not isinstance(operator, COMPARISONS):
                raise self._refusal(operator)
            if isinstance(operator, (ast.Is, ast.IsNot)) and not _is_singleton(right):
                raise FilterError(f"'is' is for None, True and False; write == in {self.text!r}")
        values = [self._expression(value, depth) for value in (node.left, *node.comparators)]
        return ast.Compare(values[0], node.ops, values[1:])

    def _items(self, node: ast.List | ast.Tuple | ast.Set, depth: int) -> ast.expr:
        # A set becomes a list, too: `in` could not look for a list in a set.
        return ast.List([self._expression(item, depth) for item in node.elts], ast.Load())

    def _constant(self, node: ast.Constant, depth: int) -> ast.expr:
        if not isinstance(node.value, (bool, int, float, str, type(None))):
            raise FilterError(f"{node.value!r} cannot be in a configuration, in {self.text!r}")
        if isinstance(node.value, int) and node.value.bit_length() > MOST_BITS:
            raise FilterError(f"A number has more than {MOST_BITS} bits in {self.text[:60]!r}…")
        return ast.Constant(node.value)

    def _name(self, node: ast.Name, depth: int) -> ast.expr:
        if node.id in CONSTANTS:
            return ast.Constant(CONSTANTS[node.id])
        return self._look_up((node.id,))

    def _attribute(self, node: ast.Attribute, depth: int) -> ast.expr:
        path = _path(node)
        if path is not None:
            return self._look_up(path)
        self._check_key(node.attr)
        return self._call_of(item, self._expression(node.value, depth), ast.Constant(node.attr))

    def _subscript(self, node: ast.Subscript, depth: int) -> ast.expr:
        path = _path(node)
        if path is not None:
            return self._look_up(path)
        value, key = self._expression(node.value, depth), self._expression(node.slice, depth)
        return self._call_of(item, value, key)

    def _call(self, node: ast.Call, depth: int) -> ast.expr:
        if node.keywords:
            raise FilterError(f"Functions take no named arguments, in {self.text!r}")
        if isinstance(node.func, ast.Name):
            name, arguments = node.func.id, node.args
        elif isinstance(node.func, ast.Attribute) and node.func.attr in METHODS:
            name, arguments = node.func.attr, [node.func.value, *node.args]
        else:
            raise FilterError(
                f"{ast.unparse(node.func)}() cannot be called in {self.text!r}. Functions: "
                f"{_FUNCTION_NAMES}; methods of texts: {', '.join(METHODS)}."
            )
        if name == "defined":
            return self._defined(arguments)
        if name not in FUNCTIONS:
            matches = near_matches(name, [*FUNCTIONS, "defined"], 1)
            hint = f" Did you mean {matches[0]}()?" if matches else ""
            raise FilterError(
                f"No function {name}() in {self.text!r}.{hint} Functions: {_FUNCTION_NAMES}."
            )
        function, least, most = FUNCTIONS[name]
        if len(arguments) < least or (most is not None and len(arguments) > most):
            raise FilterError(f"{name}() got {len(arguments)} arguments in {self.text!r}")
        return self._call_of(function, *(self._expression(value, depth) for value in arguments))

    def _defined(self, arguments: Sequence[ast.expr]) -> ast.expr:
        path = _path(arguments[0]) if len(arguments) == 1 else None
        if path is None and arguments and isinstance(arguments[0], ast.Constant):
            text = arguments[0].value
            path = split(text) if isinstance(text, str) and len(arguments) == 1 else None
        if path is None:
            raise FilterError(
                f"defined() takes one name, such as defined(optimizer.momentum), in {self.text!r}"
            )
        name = self._register(path)
        self.optional.add(name)
        if self._is_flat:
            return self._call_of(_is_listed, _config(), ast.Constant(name))
        return self._call_of(is_defined, _config(), _constant(path))

    def _look_up(self, path: KeyPath) -> ast.expr:
        name = self._register(path)
        if not self._is_flat:
            return self._call_of(_value, _config(), ast.Constant(name), _constant(path))
        texts = tuple(takewhile(lambda key: isinstance(key, str), path))
        self.flat_keys.append(join(texts))
        value: ast.expr = ast.Subscript(_config(), ast.Constant(join(texts)), ast.Load())
        for key in path[len(texts) :]:
            value = ast.Subscript(value, ast.Constant(key), ast.Load())
        return value

    def _register(self, path: KeyPath) -> str:
        for key in path:
            self._check_key(key)
        name = join(path)
        self.names.add(name)
        return name

    def _check_key(self, key: str | int) -> None:
        if isinstance(key, str) and key.startswith("__"):
            raise FilterError(f"{key!r} is not a key that a rule may read, in {self.text!r}")

    def _call_of(self, function: Callable[..., object], *arguments: ast.expr) -> ast.expr:
        name = getattr(function, "__name__", "")
        self._namespace[name] = function
        return ast.Call(ast.Name(name, ast.Load()), list(arguments), [])

    def _refusal(self, node: ast.AST) -> FilterError:
        what = INSTEAD.get(type(node), type(node).__name__)
        return FilterError(
            f"{what} is not allowed in {self.text!r}. Allowed: names of the configuration, "
            f"comparisons, in, and, or, not, arithmetic, {_FUNCTION_NAMES}."
        )


_FUNCTION_NAMES = ", ".join([*FUNCTIONS, "defined"])
_TRANSLATORS: dict[type[ast.expr], Callable[..., ast.expr]] = {
    ast.BoolOp: _Translation._any_or_all,
    ast.UnaryOp: _Translation._sign_or_not,
    ast.BinOp: _Translation._arithmetic,
    ast.Compare: _Translation._comparison,
    ast.List: _Translation._items,
    ast.Tuple: _Translation._items,
    ast.Set: _Translation._items,
    ast.Constant: _Translation._constant,
    ast.Name: _Translation._name,
    ast.Attribute: _Translation._attribute,
    ast.Subscript: _Translation._subscript,
    ast.Call: _Translation._call,
}


def _value(config: Mapping[str, object], name: str, path: KeyPath) -> object:
    if name in config:
        return config[name]
    value = look_up(config, path)
    if value is MISSING:
        raise MissingName(name)
    return value


def _is_listed(config: Mapping[str, object], name: str) -> bool:
    if name in config:
        return True
    raise KeyError(name)  # a nested configuration may still have it


def _config() -> ast.expr:
    return ast.Name("config", ast.Load())


def _constant(path: KeyPath) -> ast.expr:
    # The compiler folds a tuple of constants into one, so a call does not build it again.
    return ast.Tuple([ast.Constant(key) for key in path], ast.Load())


def _path(node: ast.expr) -> KeyPath | None:
    """The dotted name that a node spells; None if a key is computed."""
    keys: list[str | int] = []
    while not isinstance(node, ast.Name):
        if isinstance(node, ast.Attribute):
            keys.append(node.attr)
        elif isinstance(node, ast.Subscript):
            key = _key(node.slice)
            if key is None:
                return None
            keys.append(key)
        else:
            return None
        node = node.value
    return (node.id, *reversed(keys))


def _key(node: ast.expr) -> str | int | None:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        key = _key(node.operand)
        return -key if isinstance(key, int) else None
    if isinstance(node, ast.Constant) and type(node.value) in (str, int):
        return node.value  # type: ignore[return-value]
    return None


def _is_singleton(node: ast.expr) -> bool:
    if isinstance(node, ast.Name):
        return node.id in CONSTANTS
    return isinstance(node, ast.Constant) and (node.value is None or isinstance(node.value, bool))


def _position(error: BaseException, line: str) -> str:
    if not isinstance(error, SyntaxError):
        return f": {error or type(error).__name__}"
    column = f" at column {error.offset}" if error.offset else ""
    for wrong, right in (("&&", "and"), ("||", "or"), ("${", "the name alone")):
        if wrong in line:
            return f"{column}: instead of {wrong!r} write {right}."
    for key in findall(r"\.\s*(\w+)", line):
        if iskeyword(key):
            return f"{column}: {key!r} is a keyword of Python. Instead of .{key} write [{key!r}]."
    if line.startswith("#"):
        return f": {NO_COMMENTS}"
    near_error = line[max((error.offset or 1) - 2, 0) :].lstrip()
    if near_error.startswith("=") and not near_error.startswith("=="):
        return f"{column}: '=' compares nothing, write ==."
    if not error.offset or error.offset > len(line):
        return f": something is missing after {line.split()[-1]!r}. {EXAMPLE}"
    here = line[error.offset - 1 :].split()[0]
    what = error.msg.partition(" (detected")[0]  # "at line 1" says nothing: there is only one
    return f"{column}, at {here!r}: {what}. {EXAMPLE}"
