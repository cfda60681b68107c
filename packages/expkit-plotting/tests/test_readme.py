import os
import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def test_the_readmes_python_runs_in_an_empty_folder(tmp_path, monkeypatch, latex):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}

    for block in blocks:
        exec(compile(block, str(README), "exec"), namespace)

    assert blocks
    assert any(name.endswith(".pdf") for _, _, names in os.walk(tmp_path) for name in names)


@pytest.mark.parametrize(
    "words", ["texlive.combine", "scheme-medium", "collection-latexextra", "cm-super"]
)
def test_the_readme_has_the_nix_flake_for_latex(words):
    assert words in README.read_text()
