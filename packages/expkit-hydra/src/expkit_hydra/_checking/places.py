"""Where a key of a configuration is set: the file and the line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader


class Places:
    """The files of which a configuration is composed.

    Args:
        loader: Hydra's.
        config_name: The name of the primary configuration.
        overrides: Those of the command line.
    """

    def __init__(
        self, loader: ConfigLoader, config_name: str | None, overrides: Sequence[str]
    ) -> None:
        self._loader = loader
        self._config_name = config_name
        self._overrides = list(overrides)

    def of(self, key: str) -> tuple[str | None, int | None]:
        """The file that sets a key and the line in it, from 1; None where that is not known."""
        for file, package, root in self._files:
            path = key.split(".")
            prefix = package.split(".") if package not in ("", "_global_") else []
            if path[: len(prefix)] != prefix:
                continue
            line = _line_of(root, path[len(prefix) :])
            if line is not None:
                return _shown(file), line
        return None, None

    def file(self, name: str) -> Path | None:
        """The first file of a search path of folders that holds this configuration."""
        for folder in self._folders:
            path = folder / f"{name}.yaml"
            if path.is_file():
                return path
        return None

    def primary(self) -> object:
        """The content of the primary configuration's file; None if it is none, or no YAML."""
        import yaml

        file = self.file(str(self._config_name))
        try:
            return None if file is None else yaml.safe_load(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError):  # composing names it
            return None

    @cached_property
    def _folders(self) -> list[Path]:
        sources = self._loader.get_sources()
        return [Path(source.path) for source in sources if source.scheme() == "file"]

    @cached_property
    def _files(self) -> list[tuple[Path, str, Any]]:
        """The files, with package and content, the last to be merged first."""
        return list(reversed(list(self._composed())))

    def _composed(self) -> Iterator[tuple[Path, str, Any]]:
        import yaml
        from hydra.types import RunMode

        try:
            defaults = self._loader.compute_defaults_list(
                self._config_name, self._overrides, RunMode.MULTIRUN
            ).defaults
        except Exception:  # composing says why, and names the file itself
            defaults = []
        names = [(default.config_path, default.package or "") for default in defaults]
        for name, package in names or [(self._config_name, "")]:
            file = self.file(str(name))
            if file is None:
                continue
            try:
                yield file, package, yaml.compose(file.read_text(encoding="utf-8"))
            except (OSError, ValueError, yaml.YAMLError):  # composing names it, too
                continue


def _line_of(node: Any, path: Sequence[str]) -> int | None:
    import yaml

    line = None
    for part in path:
        pairs = node.value if isinstance(node, yaml.MappingNode) else ()
        for key, value in pairs:
            if key.value == part:
                node, line = value, key.start_mark.line + 1
                break
        else:
            return None
    return line


def _shown(file: Path) -> str:
    from .._console.command_lines import short_path

    return short_path(file)
