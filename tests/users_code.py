"""Write the Python that users read as modules for type checkers: `users_code.py FOLDER`.

One module per page with all of its Python blocks, each on the lines that it has in the page, so
that what a type checker reports is found there. The example and users_types.py come along.
"""

import shutil
import sys
from pathlib import Path

from fenced import blocks

REPOSITORY = Path(__file__).resolve().parents[1]


def pages() -> list[Path]:
    """The pages that users read."""
    return [
        REPOSITORY / "README.md",
        *sorted(REPOSITORY.glob("packages/*/README.md")),
        *sorted(REPOSITORY.glob("docs/**/*.md")),
    ]


def module_of(page: str) -> str:
    """The Python blocks of a page as one module, on the same lines; "" if there are none."""
    lines: list[str] = []
    for block in blocks(page, "python"):
        lines += [""] * (block.line - len(lines)) + block.text.splitlines()
    return "\n".join(lines) + "\n" if lines else ""


def write_modules(target: Path) -> list[Path]:
    """Write all into an empty folder; returns the files."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    sources = [REPOSITORY / "examples" / "digits.py", REPOSITORY / "tests" / "users_types.py"]
    files = [Path(shutil.copy(source, target)) for source in sources]
    for page in pages():
        if module := module_of(page.read_text(encoding="utf-8")):
            parts = page.relative_to(REPOSITORY).with_suffix("").parts
            files.append(target / f"{'_'.join(parts).replace('-', '_')}.py")
            files[-1].write_text(module, encoding="utf-8")
    return files


if __name__ == "__main__":
    print(*write_modules(Path(sys.argv[1])), sep="\n")
