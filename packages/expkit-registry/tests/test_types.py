"""What mypy and pyright say about right and wrong uses of a registry."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import expkit_registry

SAMPLE = """\
from collections.abc import Callable

from expkit_registry import BaseRegistry, RegistryError


class Module: ...


class Other: ...


class Models(BaseRegistry[Module]): ...


@Models.register("cnn")
class CNN(Module):
    def __init__(self, width: int = 3) -> None:
        self.width = width


@Models.register
class MLP(Module): ...


@Models.register("small", override=True)
def small(width: int) -> CNN:
    return CNN(width)


Models.register("again", CNN)
Models.register("lazy", "package.module:ViT")

entry: Callable[..., Module] = Models["cnn"]
also: Callable[..., Module] = Models.get("cnn")
model: Module = Models.build({"name": "cnn", "width": 3}, depth=2)
width: int = CNN(3).width + small(3).width
mlp: MLP = MLP()
names: list[str] = list(Models)
number: int = len(Models) + len(Models.names())
is_entry: bool = "cnn" in Models
error: type[LookupError] = RegistryError
Models.check("cnn", runtime=["params"])
Models.store("model")
"""

WRONG = {
    "a class of another kind": 'Models.register("other", Other)',
    "an index that is not a name": "Models[3]",
    "a name that is not a string": "Models.register(3)",
    "a model is not an int": 'number = Models.build("cnn")',
    "an entry is not a model": 'model = Models["cnn"]',
    "the decorator keeps the class": 'CNN("wide")',
    "the decorator keeps the function": 'small("wide")',
    "a configuration is not an int": "Models.build(3)",
    "override is a flag": 'Models.register("x", CNN, override="yes")',
}

CHECKERS = ["mypy", "pyright"]


@pytest.fixture(params=CHECKERS)
def error_lines(request, tmp_path):
    """A function that returns the lines in which a checker reports an error."""
    checker = request.param
    if importlib.util.find_spec(checker) is None:
        pytest.skip(f"{checker} is not installed")
    source = str(Path(expkit_registry.__file__).parents[1])
    commands = {
        "mypy": [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "sample.py"],
        "pyright": [sys.executable, "-m", "pyright", "--outputjson", "-p", ".", "sample.py"],
    }
    # pyright accepts files or a project, not both; the project says where the package is.
    commands["pyright"] = commands["pyright"][:-1]
    (tmp_path / "pyrightconfig.json").write_text(
        json.dumps({"include": ["sample.py"], "extraPaths": [source]})
    )

    def check(text):
        (tmp_path / "sample.py").write_text(text, encoding="utf-8")
        done = subprocess.run(
            commands[checker],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=os.environ | {"MYPYPATH": source},
            check=False,
        )
        if checker == "mypy":
            assert "sample.py" in done.stdout or done.returncode == 0, done.stdout + done.stderr
            return {
                int(line) for line in re.findall(r"^sample\.py:(\d+): error", done.stdout, re.M)
            }
        if not done.stdout.startswith("{"):
            pytest.skip(f"pyright does not run here: {done.stdout}{done.stderr}")
        report = json.loads(done.stdout)["generalDiagnostics"]
        return {
            diagnostic["range"]["start"]["line"] + 1
            for diagnostic in report
            if diagnostic["severity"] == "error"
        }

    return check


def test_checkers_accept_right_code_and_report_each_wrong_line(error_lines):
    first = SAMPLE.count("\n") + 1

    lines = error_lines(SAMPLE + "\n".join(WRONG.values()) + "\n")

    assert lines == set(range(first, first + len(WRONG))), {
        line: text for line, text in enumerate(WRONG.values(), start=first)
    }
