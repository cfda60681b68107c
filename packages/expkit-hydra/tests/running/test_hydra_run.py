"""A job that is run without Hydra's copies is, to everybody who looks, the job that Hydra runs."""

import logging
import os
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Optional, Union

import pytest
import yaml
from hydra._internal.callbacks import Callbacks
from hydra.core import utils
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobStatus
from hydra.types import HydraContext, RunMode
from hypothesis import assume, given, reject
from hypothesis import strategies as st
from omegaconf import MISSING, OmegaConf
from omegaconf.errors import GrammarParseError, OmegaConfBaseException
from same_config import assert_same_config

from expkit_hydra._running.yaml_text import to_yaml
from expkit_hydra.launching import run_job

OVERRIDES = [
    "model=cnn",
    "seed=3",
    "+out=${hydra:runtime.output_dir}/x",
    "+hydra.job.env_set.EXPKIT_SEED=three",
    "hydra.sweep.dir=results/digits/training",
]


class Seen:
    """What the user's function and the callbacks were given."""

    def __init__(self, task: Any = None) -> None:
        self.task = task or (lambda config: config.seed * 2)
        self.facts: dict[str, Any] = {}

    def __call__(self, config: Any) -> Any:
        hydra = HydraConfig.get()
        self.facts |= {
            "config": OmegaConf.to_container(config),
            "resolved": OmegaConf.to_container(config, resolve=True),
            "hydra": OmegaConf.to_container(hydra, resolve=False),
            "run dir": hydra.sweep.subdir,
            "output_dir": Path(hydra.runtime.output_dir).name,
            "read-only": OmegaConf.is_readonly(hydra),
            "struct": OmegaConf.is_struct(config),
            "cwd": str(Path.cwd()),
            "env": os.environ.get("EXPKIT_SEED"),
        }
        logging.getLogger("train").info("trained")
        config.seed = 99  # the function's own copy
        return self.task(config)

    def on_job_start(self, config: Any, **_: Any) -> None:
        self.facts["at start"] = OmegaConf.to_container(config)

    def on_job_end(self, config: Any, job_return: Any, **_: Any) -> None:
        self.facts["at end"] = (config.seed, job_return.status, config.hydra.job.num)


def run_both(app: Any, overrides: list[str], task: Any = None) -> list[tuple[Any, Seen, Path]]:
    """The same job by Hydra and by the kit, each in a folder of its own."""
    done = []
    for name, run in (
        ("hydra", lambda **given: utils.run_job(**given)),
        (
            "expkit",
            lambda *, job_dir_key, job_subdir_key, config, **given: run_job(config, **given),
        ),
    ):
        folder = app.folder / name
        folder.mkdir()
        with app.running() as hydra:
            before = Path.cwd()
            os.chdir(folder)
            try:
                config = hydra.compose_config("config", overrides, RunMode.MULTIRUN)
                config.hydra.job.num = 4
                config.hydra.job.id = "4"
                seen = Seen(task)
                callbacks = Callbacks()
                callbacks.callbacks = [seen]
                job = run(
                    config=config,
                    task_function=seen,
                    hydra_context=HydraContext(hydra.config_loader, callbacks),
                    job_dir_key="hydra.sweep.dir",
                    job_subdir_key="hydra.sweep.subdir",
                )
                assert Path.cwd() == folder
            finally:
                os.chdir(before)
        done.append((job, seen, folder))
    return done


@pytest.mark.parametrize(
    "more",
    [[], ["hydra.job.chdir=true"], ["hydra.output_subdir=null"],
     ["hydra.verbose=true"], ["hydra.sweep.subdir=deep/${seed}"]],
    ids=["plain", "chdir", "no files", "verbose", "subdir"],
)  # fmt: skip
def test_a_job_sees_and_leaves_what_hydras_does(app, more):
    (theirs, their_view, their_folder), (ours, our_view, our_folder) = run_both(
        app, [*OVERRIDES, *more]
    )

    def without_place(value: Any) -> str:
        text = repr(value)
        return text.replace(str(their_folder), "FOLDER").replace(str(our_folder), "FOLDER")

    assert without_place(our_view.facts) == without_place(their_view.facts)
    for name in ("overrides", "task_name", "status", "_return_value"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert without_place(ours.working_dir) == without_place(theirs.working_dir)
    for config in (ours.cfg, theirs.cfg, ours.hydra_cfg.hydra.job, theirs.hydra_cfg.hydra.job):
        OmegaConf.clear_cache(config)  # of `now`, a second later
    assert_same_config(ours.cfg, theirs.cfg)
    assert_same_config(ours.hydra_cfg.hydra.job, theirs.hydra_cfg.hydra.job)
    files = {path.relative_to(our_folder) for path in our_folder.rglob("*")}
    assert files == {path.relative_to(their_folder) for path in their_folder.rglob("*")}
    for path in files:
        if path.suffix == ".yaml":
            texts = [(folder / path).read_text() for folder in (our_folder, their_folder)]
            assert without_place(texts[0]) == without_place(texts[1])
    assert HydraConfig.instance().cfg is None


def test_what_the_function_raises_is_returned_and_what_ends_the_process_is_not_caught(app):
    def fail(_: Any) -> None:
        raise ValueError("no")

    for job, _, _ in run_both(app, OVERRIDES, fail):
        assert job.status == JobStatus.FAILED
        with pytest.raises(ValueError, match="no"):
            _ = job.return_value


def test_an_end_of_the_process_puts_hydras_state_back(app):
    def stop(_: Any) -> None:
        raise KeyboardInterrupt

    with app.running() as hydra:
        config = hydra.compose_config("config", OVERRIDES, RunMode.MULTIRUN)
        with pytest.raises(KeyboardInterrupt):
            run_job(
                config,
                task_function=stop,
                hydra_context=HydraContext(hydra.config_loader, Callbacks()),
            )
        assert HydraConfig.instance().cfg is None


text = st.text(max_size=30) | st.sampled_from(
    ["1", "1.5", "1e3", "yes", "null", "~", "- a", "a: b", "#", "${a}", "x" * 200, "a\nb", " a "]
)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(text, plain, max_size=4))
def test_the_quick_writer_of_yaml_writes_what_omegaconf_reads_back(data):
    try:
        config = OmegaConf.create(data)
        expected = OmegaConf.to_container(config)
        assume(repr(yaml.safe_load(OmegaConf.to_yaml(config))) == repr(expected))
    except (OmegaConfBaseException, GrammarParseError, yaml.YAMLError):
        reject()  # OmegaConf's own writer cannot

    assert repr(yaml.safe_load(to_yaml(config))) == repr(expected)


class Color(Enum):
    RED = 1


@dataclass
class Typed:
    color: Color = Color.RED
    number: Union[int, str] = 3  # noqa: UP007 - as OmegaConf reads it
    other: Union[int, str] = "${number}"  # noqa: UP007
    by_color: dict[Color, Optional[int]] = field(default_factory=lambda: {Color.RED: None})  # noqa: UP045
    path: Path = Path("a/b")
    data: bytes = b"abc"
    missing: int = MISSING
    inner: Any = None


def test_the_quick_writer_of_yaml_writes_typed_nodes_as_omegaconf_does():
    config = OmegaConf.structured(Typed)
    config.inner = {"reference": "${color}", "list": [1.5, None, {"a": True}]}

    assert to_yaml(config) == OmegaConf.to_yaml(config)
