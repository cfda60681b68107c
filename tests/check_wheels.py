"""Check the metadata of the ten built wheels; `python tests/check_wheels.py FOLDER`."""

import re
import sys
import zipfile
from email.parser import HeaderParser
from pathlib import Path


def read(wheel: Path) -> tuple[str, str, list[str], list[str]]:
    """Name, version, requirements and file names of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = next(name for name in names if name.endswith(".dist-info/METADATA"))
        headers = HeaderParser().parsestr(archive.read(metadata).decode())
    return headers["Name"], headers["Version"], headers.get_all("Requires-Dist") or [], names


def problems(wheels: list[Path]) -> list[str]:
    """Everything that is wrong with a set of wheels, as sentences."""
    sentences: list[str] = []
    versions: dict[str, str] = {}
    requirements_by_name: dict[str, list[str]] = {}
    for wheel in wheels:
        name, version, requirements, files = read(wheel)
        versions[name], requirements_by_name[name] = version, requirements
        module = name.replace("-", "_")
        if "hydra_plugins/__init__.py" in files:
            sentences.append(f"{name}: hydra_plugins/__init__.py would hide the plugins of others")
        if f"{module}/py.typed" not in files:
            sentences.append(f"{name}: no py.typed")
        if any("/tests/" in f"/{file}" for file in files):
            sentences.append(f"{name}: ships its tests")
        if any(re.match(r"torch\b(?!info)", requirement) for requirement in requirements):
            sentences.append(f"{name}: requires torch")
    if len(wheels) != 10:
        sentences.append(f"expected ten wheels, got {len(wheels)}")
    pins = {
        match[1]: match[2]
        for requirement in requirements_by_name.get("expkit", [])
        if (match := re.match(r"(expkit-\w+)(?:\[[\w,]+\])?==([\w.]+)$", requirement))
    }
    for name in sorted(set(versions) - {"expkit"}):
        if pins.get(name) != versions[name]:
            sentences.append(
                f"expkit pins {name}=={pins.get(name)}, but the wheel has {versions[name]}"
            )
    return sentences


if __name__ == "__main__":
    sentences = problems(sorted(Path(sys.argv[1]).glob("*.whl")))
    print("\n".join(sentences) or "ten wheels: pins, metadata and contents agree")
    raise SystemExit(bool(sentences))
