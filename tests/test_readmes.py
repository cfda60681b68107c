import subprocess
import sys
from pathlib import Path

import pytest
from fenced import blocks, relative_links
from workspace import REPOSITORY, environment

READMES = [*sorted(REPOSITORY.glob("packages/*/README.md")), REPOSITORY / "README.md"]
PAGES = [*READMES, REPOSITORY / "CONTRIBUTING.md", *sorted(REPOSITORY.glob("docs/*.md"))]


def name(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


@pytest.mark.parametrize("readme", READMES[:-1], ids=name)
def test_the_python_blocks_of_a_readme_run_one_after_another(readme, tmp_path):
    code = blocks(readme.read_text(encoding="utf-8"), "python")
    if not code:
        pytest.skip("it has no Python")
    (tmp_path / "readme.py").write_text("\n\n".join(block.text for block in code))

    done = subprocess.run(
        [sys.executable, "readme.py"],
        cwd=tmp_path,
        env=environment(PYTHONWARNINGS="error::DeprecationWarning:__main__"),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_relative_links_lead_somewhere(page):
    missing = [
        link
        for link in relative_links(page.read_text(encoding="utf-8"))
        if not (page.parent / link).exists()
    ]

    assert missing == []


@pytest.mark.parametrize("readme", READMES[:-1], ids=name)
def test_a_readme_says_how_to_install_and_what_the_package_does_not_do(readme):
    text = readme.read_text(encoding="utf-8").lower()

    assert f"pip install {readme.parent.name}" in text
    assert "not" in text.rpartition("\n## ")[2]
