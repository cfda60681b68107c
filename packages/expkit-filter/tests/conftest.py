import json

import pytest

from expkit_bookkeeping import find_runs


@pytest.fixture
def experiment(tmp_path):
    """Writes run.json files as docs/formats.md describes them, and reads them as users do."""
    return Experiment(tmp_path / "results" / "digits")


class Experiment:
    def __init__(self, path):
        self.path = path

    def add(self, run_name, state, config_hash="hash", config_yaml=None, **facts):
        folder = self.path / "training" / run_name
        folder.mkdir(parents=True)
        run = {"schema": 1, "run_name": run_name, "state": state, "config_hash": config_hash}
        (folder / "run.json").write_text(json.dumps(run | {"attempt": 1} | facts))
        if config_yaml is not None:
            (folder / "config.yaml").write_text(config_yaml)
        return folder

    def runs(self, alive=None):
        return find_runs(self.path, is_alive=lambda record: alive)
