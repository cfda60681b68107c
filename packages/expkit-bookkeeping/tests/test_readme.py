"""The README's Python blocks run, one after the other, in an empty folder."""

import os
import re
from importlib.util import find_spec
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def has_torch():
    required = "torch" in os.environ.get("EXPKIT_REQUIRE", "").split(",")
    return required or find_spec("torch") is not None


def test_the_examples_of_the_readme_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RANK", raising=False)
    namespace: dict[str, object] = {"__name__": "__main__"}

    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.M | re.S)

    assert blocks
    for block in blocks:
        if "save_checkpoint" in block and not has_torch():
            continue
        exec(compile(block, str(README), "exec"), namespace)
