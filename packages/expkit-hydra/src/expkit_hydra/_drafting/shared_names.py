"""Runs that cleaning would give one name: which of them get a suffix, and what is refused."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

from .._composing.errors import GridError
from .._grid.names import RunName, stem_of, stem_of_suffixed
from .shape import ResolvedRun

TYPE_CHECKING = False
if TYPE_CHECKING:
    from expkit_bookkeeping import RunRecord


class EarlierNames:
    """The names that the runs of an experiment have."""

    def __init__(self, records: Iterable[RunRecord]) -> None:
        self._hashes = {
            # macOS may list a folder under the other spelling of its letters.
            unicodedata.normalize("NFC", record.folder.name): record.config_hash
            for record in records
        }
        self._stems = {stem_of_suffixed(name) for name in self._hashes}

    def has(self, name: str, config_hash: str | None) -> bool:
        """Whether the run of this name has this configuration."""
        return config_hash is not None and self._hashes.get(name) == config_hash

    def of(self, run: ResolvedRun) -> str | None:
        """The name under which the experiment has a run, if that is not its plain one."""
        plain = run.run_name
        if self.has(plain, run.config_hash):
            return None
        if stem_of(plain) in self._stems and run.name.suffixed in self._hashes:
            return run.name.suffixed
        if not plain.isascii() and self.has(run.name.of_version_0_1, run.config_hash):
            return run.name.of_version_0_1
        return None


def told_apart(
    names: Sequence[RunName],
    run_names: Sequence[str],
    hashes: Sequence[str | None],
    earlier: EarlierNames,
    ignores_case: Callable[[], bool],
) -> dict[int, str]:
    """The names of the runs that need a suffix, by their position.

    All runs that would share a folder get one, so that no name depends on the order of the runs,
    but for the run whose folder that is already. What names two runs alike gets none.

    Args:
        names: What each run can be called.
        run_names: What each is called so far.
        hashes: Hash of each run's configuration.
        earlier: The names of the runs of their experiment.
        ignores_case: Tells whether the file system does; asked where that matters.
    """
    folders = [folded(name) for name in run_names]
    if len(set(folders)) < len(set(run_names)) and not ignores_case():
        folders = list(run_names)
    by_folder: dict[str, list[int]] = {}
    for position, folder in enumerate(folders):
        by_folder.setdefault(folder, []).append(position)
    suffixed: dict[int, str] = {}
    for positions in by_folder.values():
        others = {
            position: names[position].suffixed
            for position in positions
            if len(positions) > 1 and not earlier.has(run_names[position], hashes[position])
        }
        if len(set(others.values())) == len(others):
            suffixed |= others
    return suffixed


def folded(name: str) -> str:
    """The same text for names that a file system which ignores case takes for one."""
    return unicodedata.normalize("NFC", name.casefold())


def file_system_ignores_case(folder: Path) -> bool:
    """Whether the file system of a folder, which need not exist yet, ignores case."""
    for path in (folder, *folder.parents):
        other = path.with_name(path.name.swapcase()) if path.name else path
        if other != path and path.exists():
            return other.exists() and path.samefile(other)
    return False


def refuse_shared_names(
    names: Sequence[str],
    values: Sequence[Mapping[str, object]],
    *,
    indices: Sequence[int] | None = None,
    template: str | None,
    groups: Collection[str] = (),
) -> None:
    """Refuse runs that share a name: in one folder they would overwrite each other.

    Args:
        names: Name of each run.
        values: Swept values of each run.
        indices: Number of each run; None counts from 0.
        template: The user's template of run_name, None for the default.
        groups: Keys that are config groups; a template reaches their choice through Hydra.

    Raises:
        GridError: Naming the first two such runs and the key that the name lacks.
    """
    first: dict[str, int] = {}
    for index, name in enumerate(names):
        other = first.setdefault(name, index)
        if other == index:
            continue
        keys = dict.fromkeys([*values[index], *values[other]])
        differing = [key for key in keys if values[index].get(key) != values[other].get(key)]
        numbers = (other, index) if indices is None else (indices[other], indices[index])
        text = f"Runs {numbers[0]} and {numbers[1]} of the grid would both be named {name!r}. "
        if template is not None and differing:
            shown = ", ".join(
                f"{key} ({values[other].get(key)!r} and {values[index].get(key)!r})"
                for key in differing
            )
            text += (
                f"They differ in {shown}, which the template run_name: {template} does not tell "
                f"apart. {_advice(template, differing, groups)}"
            )
        else:
            text += (
                "Their swept keys have the same values, but their configurations differ. Give a "
                "template that names the difference, e.g. run_name: ${model.name}_${seed}."
            )
        raise GridError(text)


def _advice(template: str, keys: Sequence[str], groups: Collection[str]) -> str:
    """How a template tells the values of one more of some keys apart."""
    for key in keys:
        # Nothing refers to several options of a group.
        reference = f"${{hydra:runtime.choices.{key}}}" if key in groups else f"${{{key}}}"
        if ("/" not in key or key in groups) and reference not in template:
            return f"Add the key, e.g. run_name: {template}_{reference}"
    return "Leave run_name out: the name is then made of the values of all swept keys."
