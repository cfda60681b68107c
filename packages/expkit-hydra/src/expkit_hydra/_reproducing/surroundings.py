"""What a run had around it that no repository holds: Python, packages, data, variables, secrets."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path

from .report import some


def requirements(environment: Mapping[str, object]) -> str:
    """The packages that a run had imported, in the form that pip reads."""
    lines = [
        "# What the run had imported; with the project's own requirements:",
        f"# Python {environment.get('python')} on {environment.get('platform')}",
    ]
    gpus = environment.get("gpus")
    if isinstance(gpus, list) and gpus:
        lines.append(f"# GPUs: {', '.join(map(str, gpus))}")
    names = _distributions()
    for module, version in _versions(environment).items():
        lines.append(f"{names.get(module, module)}=={version}")
    return "\n".join([*lines, ""]).replace("\r", "")


def environment_differences(
    environment: Mapping[str, object], present: Mapping[str, object]
) -> list[str]:
    """In what this environment is another one than that of a run, in sentences.

    Args:
        environment: What the run's environment.yaml says.
        present: The same of this process.
    """
    if not environment:
        return ["environment: not recorded, as the script has not opened the run"]
    lines = []
    facts = [
        ("Python", environment.get("python"), present.get("python")),
        ("GPUs", _listed(environment.get("gpus")), _listed(present.get("gpus"))),
        ("system", _system(environment.get("platform")), _system(present.get("platform"))),
    ]
    lines += [f"{what}: {before} then, {now} here" for what, before, now in facts if before != now]
    names = _distributions()
    changed = []
    for module, version in _versions(environment).items():
        name = names.get(module, module)
        try:
            here = metadata.version(name)
        except metadata.PackageNotFoundError:
            here = "missing"
        if here != version:
            changed.append(f"{name} {version} then, {here} here")
    if changed:
        lines.append(f"packages: {some(changed, '; ')}")
    return lines


def missing_data(
    config: Mapping[str, object], before: Path | None, now: Path, experiment: Path
) -> list[str]:
    """Files and folders that a configuration names and that are not where the run will look.

    Args:
        config: Configuration of the run.
        before: The working directory of the run.
        now: That in which it is started again.
        experiment: The experiment's folder: what contains it is written, not read.
    """
    lines = []
    for key, text in _texts(config):
        if "://" in text or "\n" in text or len(text) > 1000:
            continue
        try:
            if text.startswith("/"):
                if len(text) > 1 and not os.path.lexists(text):
                    lines.append(f"data: {key} is {text}, which is not on this machine")
            elif before is not None and text not in ("", ".", ".."):
                there = before / text
                written = experiment.resolve().is_relative_to(there.resolve())
                if there.exists() and not (now / text).exists() and not written:
                    lines.append(f"data: {key} is {text}, which is not in git: link {there}")
        except (OSError, ValueError):  # no path at all
            continue
    return lines


def references(config: Mapping[str, object], unresolved: Mapping[str, object]) -> list[str]:
    """What the configuration took from variables or the time, and is another value now."""
    values = dict(_leaves(config))
    lines = []
    for key, written in unresolved.items():
        text = str(written).replace("$(", "${").replace(")", "}")
        value = values.get(key)
        if "oc.env:" in text and not _is_secret(key, text) and not _is_now(text, value):
            lines.append(f"variable: {key} came from {text} and was {value!r}")
        elif "${now:" in text:
            lines.append(f"time: {key} came from {text} and was {value!r}")
    return lines


def _is_now(text: str, value: object) -> bool:
    """Whether a text with variables of the environment has a value in this environment."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    if text.count("${") != text.count("${oc.env:"):
        return False
    try:
        return str(OmegaConf.create({"value": text}).value) == str(value)
    except OmegaConfBaseException:  # the variable is not set
        return False


def missing_secrets(config: Mapping[str, object], arguments: Iterable[str]) -> list[str]:
    """The keys and arguments in which a secret has to be filled in, in one sentence each."""
    from expkit_bookkeeping.launching import MASK

    lines = [
        f"secret: {key} is not recorded; it was "
        + (f"read from {text}" if "${" in text else "written in the configuration itself")
        for key, text in _texts(config)
        if MASK in text or _is_secret(key, text)
    ]
    return lines + [
        f"secret: {text!r} is in the command: write it in place of {MASK}"
        for text in arguments
        if MASK in text
    ]


def _is_secret(key: str, text: str) -> bool:
    from expkit_bookkeeping.launching import is_secret

    return "${" in text and is_secret(key, text)


def _leaves(value: object, key: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from _leaves(part, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from _leaves(part, f"{key}.{number}")
    else:
        yield key, value


def _texts(config: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    from expkit_bookkeeping.launching import NO_PART_OF_IDENTITY

    kit = NO_PART_OF_IDENTITY - {"mlflow"}
    for key, value in _leaves({name: part for name, part in config.items() if name not in kit}):
        if isinstance(value, str):
            yield key, value


def _listed(names: object) -> str:
    return ", ".join(map(str, names)) if isinstance(names, list) and names else "none"


def _system(platform: object) -> str:
    """The system and the processor in a platform's name; its kernel and libraries change often."""
    return " ".join(re.findall("Linux|macOS|Windows|x86_64|aarch64|arm64|AMD64", str(platform)))


def _versions(environment: Mapping[str, object]) -> dict[str, str]:
    versions = environment.get("versions")
    if not isinstance(versions, Mapping):
        return {}
    return {str(name): str(version) for name, version in versions.items()}


@cache
def _distributions() -> dict[str, str]:
    """By importable name, the distribution that brings it here."""
    return {module: names[0] for module, names in metadata.packages_distributions().items()}
