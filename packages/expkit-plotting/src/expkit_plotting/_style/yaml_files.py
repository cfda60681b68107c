"""Finding style files and resolving their `defaults:`, with neither Hydra nor OmegaConf."""

from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path

from .._data.errors import PlottingError, listed, near_match
from .._data.files import read_yaml, short_path

PACKAGED = Path(__file__).parents[1] / "conf" / "plotting"
GROUP = Path("conf", "plotting")
LONGEST_NAME = 60  # file systems refuse to look for over 255 bytes, up to four a character


def load_style(
    style: str | PathLike[str], *, start: Sequence[PathLike[str]] = ()
) -> tuple[dict[str, object], str]:
    """A style's keys, its `defaults:` merged in, and the file that it came from.

    Args:
        style: A name, or the path of a `.yaml` file.
        start: Where to look upward for `conf/plotting/`, after the working directory.

    Raises:
        PlottingError: If there is no such style, or a file cannot be used.
    """
    text = str(style)
    if text.endswith((".yaml", ".yml")):
        path = Path(text)
        if not path.is_file():
            raise PlottingError(f"There is no style file {text!r}.")
        return _resolved(path, [path.parent, *_folders(start)], ()), text
    folders = _folders(start)
    path = _find(text, folders)
    return _resolved(path, folders, ()), short_path(path)


def style_names(folders: Sequence[Path] | None = None) -> list[str]:
    """The names of the styles in these folders; by default those that a program here can use."""
    folders = _folders([]) if folders is None else folders
    return sorted({path.stem for folder in folders for path in folder.glob("*.yaml")})


def _folders(start: Sequence[PathLike[str]]) -> list[Path]:
    """Every `conf/plotting/` from the working directory and from `start` upward; then ours."""
    folders = []
    for origin in (Path.cwd(), *map(Path, start)):
        origin = origin.resolve()
        for folder in (origin, *origin.parents):
            if (folder / GROUP).is_dir():
                folders.append(folder / GROUP)
    return [*dict.fromkeys(folders), PACKAGED]


def _find(name: str, folders: Sequence[Path], *, file: Path | None = None) -> Path:
    """The style's file in the first of these folders that has one; `file` is what names it."""
    for folder in folders if len(name) <= LONGEST_NAME else ():
        path = folder / f"{name}.yaml"
        if path.is_file():
            return path
    names = style_names(folders)
    places = [short_path(folder) for folder in folders if folder != PACKAGED]
    looked = (
        f"in {listed(places)} and " if places else "in no conf/plotting/ from here upward, and "
    )
    origin = f"{short_path(file)}: " if file else ""
    raise PlottingError(
        f"{origin}There is no style {name!r:.80}.{near_match(name, names)} "
        f"Known: {', '.join(names)}. Looked {looked}among the packaged ones."
    )


def _resolved(path: Path, folders: Sequence[Path], parents: tuple[Path, ...]) -> dict[str, object]:
    if path in parents:
        chain = " -> ".join(file.stem for file in (*parents, path))
        raise PlottingError(f"{short_path(path)}: its defaults lead back to itself: {chain}.")
    keys = dict(read_yaml(path))
    merged: dict[str, object] = {}
    defaults = list(_defaults(keys.pop("defaults", []), path))
    if "_self_" not in defaults:
        defaults.append("_self_")  # as Hydra has it: what a file says itself comes last
    for name in defaults:
        if name == "_self_":
            merged = _merge(merged, keys)
            continue
        # A user's Default that starts from `Default` means the next one in the search order.
        file = f"{name}.yaml"
        others = [folder for folder in folders if folder / file not in (path, *parents)]
        others = [folder for folder in others if (folder / file).is_file()]
        default = _find(name, others or folders, file=path)
        merged = _merge(merged, _resolved(default, folders, (*parents, path)))
    return merged


def _defaults(value: object, path: Path) -> Iterator[str]:
    """Names of the styles that a file starts from."""
    if not isinstance(value, list):
        raise PlottingError(f"{short_path(path)}: defaults must be a list, such as [Thesis].")
    for entry in value:
        name = entry.removesuffix("@_here_").removesuffix(".yaml") if isinstance(entry, str) else ""
        if not name or any(character in name for character in "/@ "):
            raise PlottingError(
                f"{short_path(path)}: defaults may list names of styles and _self_; "
                f"got {entry!r:.80}."
            )
        yield name


def _merge(below: Mapping[str, object], above: Mapping[str, object]) -> dict[str, object]:
    merged = dict(below)
    for key, value in above.items():
        value_below = merged.get(key)
        if isinstance(value_below, Mapping) and isinstance(value, Mapping):
            merged[key] = _merge(value_below, value)
        else:
            merged[key] = value
    return merged
