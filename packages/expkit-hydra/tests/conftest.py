"""A Hydra app in a temporary folder, run in this process."""

import logging
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hydra._internal.hydra import Hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.types import RunMode
from omegaconf import DictConfig

from expkit_hydra import Grid

sys.path.insert(0, str(Path(__file__).parent))  # what these tests share
Plugins.instance()  # Hydra 1.4 imports plugins once, and `hydra_restore_singletons` forgets them

CONFIG = """
    defaults: [expkit, model: mlp, optimizer: adam, _self_]
    experiment_id: digits
    seed: 1
    epochs: 2
    expkit: {after: []}
    _filters: ["model.name == 'mlp' and optimizer.lr > 0.01"]
    hydra:
      sweeper:
        params: {model: [mlp, cnn], optimizer: [sgd], optimizer.lr: [0.1, 0.001], seed: [1, 2]}
"""


@dataclass
class App:
    """A script with its configuration.

    `seen` are the configurations its function was given, `log` the messages of expkit_hydra.
    """

    folder: Path
    task: Callable[[DictConfig], object] = lambda cfg: None
    config_name: str = "config"
    config_path: str | None = "conf"
    config_dir: Path | None = None
    seen: list[DictConfig] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    def add(self, text: str) -> None:
        """Append to conf/config.yaml."""
        config = self.folder / "conf/config.yaml"
        config.write_text(config.read_text() + textwrap.dedent(text))

    def edit(self, old: str, new: str) -> None:
        config = self.folder / "conf/config.yaml"
        text = config.read_text()
        assert old in text
        config.write_text(text.replace(old, new))

    def sweep(self, *overrides: str) -> list[Sequence[JobReturn]]:
        with _Running(self) as hydra:
            returns: list[Sequence[JobReturn]] = hydra.multirun(
                self.config_name, self._run, list(overrides), with_log_configuration=False
            )
            return returns

    def run(self, *overrides: str) -> JobReturn:
        with _Running(self) as hydra:
            return hydra.run(
                self.config_name, self._run, list(overrides), with_log_configuration=False
            )

    def compose(self, *overrides: str, mode: RunMode = RunMode.MULTIRUN) -> DictConfig:
        with _Running(self) as hydra:
            return hydra.compose_config(self.config_name, list(overrides), mode)

    def running(self) -> "_Running":
        return _Running(self)

    @property
    def experiment(self) -> Path:
        return self.folder / "results" / "digits"

    def grid(self) -> Grid:
        return Grid.load(self.experiment)

    def names(self) -> list[str]:
        """Names of the runs that were executed."""
        return [cfg.run_name for cfg in self.seen]

    def _run(self, cfg: DictConfig) -> object:
        self.seen.append(cfg)
        return self.task(cfg)


class _Running:
    def __init__(self, app: App) -> None:
        self._app = app

    def __enter__(self) -> Hydra:
        from hydra._internal.utils import create_automatic_config_search_path
        from hydra.core.config_search_path import SearchPathQuery

        GlobalHydra.instance().clear()
        search_path = create_automatic_config_search_path(
            str(self._app.folder / "train.py"), None, self._app.config_path
        )
        if self._app.config_dir is not None:  # as hydra.main does for --config-dir
            search_path.prepend(
                provider="command-line",
                path=f"file://{self._app.config_dir}",
                anchor=SearchPathQuery(provider="schema"),
            )
        return Hydra.create_main_hydra2("train", search_path)

    def __exit__(self, *error: object) -> None:
        GlobalHydra.instance().clear()


class _Lines(logging.Handler):
    """Keeps messages: pytest's own handler goes when Hydra configures logging."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(record.getMessage())


@pytest.fixture
def app(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hydra_restore_singletons: object
) -> Iterator[App]:
    """An app with two models, two learning rates, two seeds and a rule: 8 runs, 6 of them left."""
    from hydra import version

    monkeypatch.chdir(tmp_path)
    version.setbase("1.3")
    app = App(tmp_path)
    app.write("conf/config.yaml", CONFIG)
    for model in ("mlp", "cnn"):
        app.write(f"conf/model/{model}.yaml", f"name: {model}\n")
    for optimizer in ("sgd", "adam"):
        app.write(f"conf/optimizer/{optimizer}.yaml", f"name: {optimizer}\nlr: 0.1\n")
    logger, handler = logging.getLogger("expkit_hydra"), _Lines(app.log)
    logger.addHandler(handler)
    monkeypatch.setattr(logger, "level", logging.INFO)
    yield app
    logger.removeHandler(handler)
