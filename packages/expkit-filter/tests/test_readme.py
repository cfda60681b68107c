import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {}

    for block in re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL):
        exec(compile(block, str(README), "exec"), namespace)

    assert namespace["selection"].to_run


def test_the_readme_and_the_docstring_list_every_function():
    from expkit_filter._expressions import Expression
    from expkit_filter._functions import FUNCTIONS

    listed = f"`{' '.join(FUNCTIONS)} defined`"

    assert listed in README.read_text(encoding="utf-8")
    assert listed in " ".join(Expression.__doc__.split())
