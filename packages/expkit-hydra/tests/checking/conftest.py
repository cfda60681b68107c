"""The examination of an app that is about to sweep."""

from collections.abc import Callable

import pytest

from expkit_hydra._checking.examination import Examination, examine
from expkit_hydra._program.app import StartedApp


@pytest.fixture
def examination(app) -> Callable[..., Examination]:
    """Examine the app with overrides; one model, rate and seed unless they name others."""
    app.edit("{model: [mlp, cnn], optimizer: [sgd], optimizer.lr: [0.1, 0.001], seed: [1, 2]}", "")

    def make(*overrides: str) -> Examination:
        with app.running() as hydra:
            return examine(StartedApp(hydra.config_loader, "config", overrides, app.task))

    return make


@pytest.fixture
def findings(examination) -> Callable[..., dict[str, list[str]]]:
    """The same, as `LEVEL SUBJECT PLACE` by text."""

    def make(*overrides: str) -> dict[str, str]:
        return {
            finding.text: f"{finding.level} {finding.subject} {finding.file}:{finding.line}"
            for finding in examination(*overrides).findings
        }

    return make
