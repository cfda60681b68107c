"""The README's Python blocks run, one after the other, in an empty folder."""

import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_the_examples_of_the_readme_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RANK", raising=False)
    namespace: dict[str, object] = {"__name__": "__main__"}

    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.M | re.S)

    assert blocks
    for block in blocks:
        exec(compile(block, str(README), "exec"), namespace)
