"""Finding style files and resolving their `defaults:`, with neither Hydra nor OmegaConf."""

from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path

from ._errors import PlottingError, listed, near_match

PACKAGED = Path(__file__).parent / "conf" / "plotting"
GROUP = Path("conf", "plotting")


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
    path = _find(text, folders, wanted_by="")
    return _resolved(path, folders, ()), _shown(path)


def _folders(start: Sequence[PathLike[str]]) -> list[Path]:
    """Every `conf/plotting/` from the working directory and from `start` upward; then ours."""
    found = []
    for origin in (Path.cwd(), *map(Path, start)):
        origin = origin.resolve()
        for folder in (origin, *origin.parents):
            if (folder / GROUP).is_dir():
                found.append(folder / GROUP)
    return [*dict.fromkeys(found), PACKAGED]


def _find(name: str, folders: Sequence[Path], *, wanted_by: str) -> Path:
    for folder in folders:
        path = folder / f"{name}.yaml"
        if path.is_file():
            return path
    known = sorted({path.stem for folder in folders for path in folder.glob("*.yaml")})
    places = [_shown(folder) for folder in folders if folder != PACKAGED]
    looked = (
        f"in {listed(places)} and " if places else "in no conf/plotting/ from here upward, and "
    )
    raise PlottingError(
        f"{wanted_by}There is no style {name!r}.{near_match(name, known)} "
        f"Known: {', '.join(known)}. Looked {looked}among the packaged ones."
    )


def _resolved(path: Path, folders: Sequence[Path], parents: tuple[Path, ...]) -> dict[str, object]:
    if path in parents:
        chain = " -> ".join(each.stem for each in (*parents, path))
        raise PlottingError(f"{_shown(path)}: its defaults lead back to itself: {chain}.")
    own = dict(_read(path))
    merged: dict[str, object] = {}
    defaults = list(_defaults(own.pop("defaults", []), path))
    if "_self_" not in defaults:
        defaults.append("_self_")  # as Hydra has it: what a file says itself comes last
    for name in defaults:
        if name == "_self_":
            merged = _merge(merged, own)
            continue
        # A user's Default that starts from `Default` means the one behind it.
        file = f"{name}.yaml"
        behind = [it for it in folders if it / file not in (path, *parents)]
        behind = [it for it in behind if (it / file).is_file()]
        found = _find(name, behind or folders, wanted_by=f"{_shown(path)}: ")
        merged = _merge(merged, _resolved(found, folders, (*parents, path)))
    return merged


def _read(path: Path) -> Mapping[str, object]:
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise PlottingError(f"{_shown(path)}: cannot be read: {error}") from None
    if content is None:
        return {}
    if not isinstance(content, Mapping):
        raise PlottingError(
            f"{_shown(path)}: a style is a mapping of keys; got {type(content).__name__}."
        )
    return content


def _defaults(value: object, path: Path) -> Iterator[str]:
    """Names of the styles that a file starts from."""
    if not isinstance(value, list):
        raise PlottingError(f"{_shown(path)}: defaults must be a list, such as [Thesis].")
    for each in value:
        name = each.removesuffix("@_here_").removesuffix(".yaml") if isinstance(each, str) else ""
        if not name or "/" in name or "@" in name or " " in name:
            raise PlottingError(
                f"{_shown(path)}: defaults may list names of styles and _self_; got {each!r}."
            )
        yield name


def _merge(below: Mapping[str, object], above: Mapping[str, object]) -> dict[str, object]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            merged[key] = _merge(old, value)
        else:
            merged[key] = value
    return merged


def experiment_style(folder: Path) -> tuple[Mapping[str, object], str] | None:
    """What the experiment was configured with: the key `plotting` of its configuration.

    It stands in the grid's description, else in the configuration of a run; None where there
    is neither.
    """
    experiment = folder.parent if folder.name == "training" else folder
    candidates: list[tuple[Path, tuple[str, ...]]] = [
        (experiment / "grid_search.yaml", ("config", "plotting"))
    ]
    runs = [folder, *sorted((experiment / "training").glob("*"), key=lambda it: it.name)[:1]]
    candidates += [(run / "config.yaml", ("plotting",)) for run in runs]
    for path, keys in candidates:
        if not path.is_file():
            continue
        value: object = _read(path)
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        if isinstance(value, Mapping) and value:
            return value, f"{_shown(path)}: {'.'.join(keys)}"
    return None


def _shown(path: Path) -> str:
    """A path relative to the working directory where it lies below it."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
