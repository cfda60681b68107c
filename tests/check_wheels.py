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
    found: list[str] = []
    versions: dict[str, str] = {}
    requirements: dict[str, list[str]] = {}
    for wheel in wheels:
        name, versions_of, needs, files = read(wheel)
        versions[name], requirements[name] = versions_of, needs
        module = name.replace("-", "_")
        if "hydra_plugins/__init__.py" in files:
            found.append(f"{name}: hydra_plugins/__init__.py would hide the plugins of others")
        if f"{module}/py.typed" not in files:
            found.append(f"{name}: no py.typed")
        if any("/tests/" in f"/{file}" for file in files):
            found.append(f"{name}: ships its tests")
        if any(re.match(r"torch\b(?!info)", need) for need in needs):
            found.append(f"{name}: requires torch")
    if len(wheels) != 10:
        found.append(f"expected ten wheels, found {len(wheels)}")
    pins = {
        match[1]: match[2]
        for need in requirements.get("expkit", [])
        if (match := re.match(r"(expkit-\w+)(?:\[[\w,]+\])?==([\w.]+)$", need))
    }
    for name in sorted(set(versions) - {"expkit"}):
        if pins.get(name) != versions[name]:
            found.append(f"expkit pins {name}=={pins.get(name)}, built is {versions[name]}")
    return found


if __name__ == "__main__":
    complaints = problems(sorted(Path(sys.argv[1]).glob("*.whl")))
    print("\n".join(complaints) or "ten wheels: pins, metadata and contents agree")
    raise SystemExit(bool(complaints))
