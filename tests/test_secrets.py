"""What is secret is the same for all packages, and no file or message shows it."""

import json
import re
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest
import yaml
from workspace import REPOSITORY

from expkit_bookkeeping.launching import SECRET_KEYS


def source(package: str, module: str) -> str:
    name = package.replace("-", "_")
    return Path(REPOSITORY, "packages", package, "src", name, module).read_text(encoding="utf-8")


def test_mlflow_knows_secrets_as_bookkeeping_does():
    ours = source("expkit-bookkeeping", "_files/secrets.py")

    assert source("expkit-mlflow", "_addresses/secrets.py") == ours


SCRIPT = """
import hydra
from expkit_bookkeeping import Bookkeeping
from expkit_mlflow import MLFlowLogger


@hydra.main(version_base="1.3", config_path=".", config_name="config")
def main(cfg):
    assert (cfg.db.password, cfg.auth.hf_token, cfg.api_token) == (
        "PLANTED-LITERAL", "PLANTED-REFERENCE", "PLANTED-OVERRIDE",
    )
    assert cfg.uris[0] == "postgresql://ada:PLANTED/SLASH@db/x" and cfg.pad_token == "[PAD]"
    with Bookkeeping.from_config(cfg, sinks=[MLFlowLogger.from_config(cfg)]) as run:
        run.log_metrics({"loss": 1.0}, step=0)
        run.log(f"logged with {cfg.db.password}")
        if cfg.x == 2:
            raise RuntimeError(f"no answer from {cfg.uris[0]}, nor http://ada:PLANTED-TEXT@h/x")


if __name__ == "__main__":
    main()
"""
CONFIG = """
defaults: [expkit, _self_]
experiment_id: first
x: 1
pad_token: "[PAD]"
db: {password: PLANTED-LITERAL}
header: "Bearer ${db.password}"
greeting: "Bearer ${oc.env:HF_TOKEN}"
auth: {hf_token: "${oc.env:HF_TOKEN}"}
uris:
  - postgresql://ada:PLANTED/SLASH@db/x
  - postgresql://ada:PLANTED#HASH@db/x
  - mysql+pymysql://ada:PLANTED?QUESTION@db/x
  - "postgresql://ada:PLANTED SPACE@db/x"
  - postgresql://ada:PLANTED@AT@db/x
  - postgresql://db/x?user=ada&password=PLANTED-QUERY
mlflow: {tracking_uri: "http://ada:PLANTED-SERVER@127.0.0.1:9", mode: offline}
expkit: {after: [plot]}
"""
VARIABLES = {"HF_TOKEN": "PLANTED-REFERENCE", "MLFLOW_TRACKING_PASSWORD": "PLANTED-VARIABLE"}


@pytest.fixture
def planted(empty):
    (empty.folder / "train.py").write_text(SCRIPT)
    (empty.folder / "config.yaml").write_text(CONFIG)
    return empty


def shows(workspace, done):
    """What of the planted secrets the terminal and the files show, but for secrets.json."""
    texts = {"stdout": done.stdout, "stderr": done.stderr}
    for path in workspace.folder.joinpath("results").rglob("*"):
        if path.is_file() and path.name != "secrets.json":
            name = path.relative_to(workspace.folder).as_posix()
            texts[name] = path.read_bytes().decode("utf-8", "replace") + name
    return {
        f"{name}: {line.strip()[:200]}"
        for name, text in texts.items()
        for line in text.splitlines()
        if re.search("PLANTED|SLASH|HASH|QUESTION|SPACE@|@AT|SERVER", line)
    }


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_grid_shows_no_secret_anywhere(planted, n_jobs):
    done = planted.run(
        "python", "train.py", "-m", "x=1,2", "+api_token=PLANTED-OVERRIDE",
        f"hydra.launcher.n_jobs={n_jobs}", code=None, **VARIABLES,
    )  # fmt: skip

    experiment = planted.folder / "results" / "first"
    states = {path.parent.name: json.loads(path.read_text())["state"]
              for path in experiment.glob("training/*/run.json")}  # fmt: skip
    assert states == {"1": "completed", "2": "failed"}, done.stdout + done.stderr
    assert shows(planted, done) == set()
    (secrets,) = experiment.glob("grids/*/secrets.json")
    assert secrets.stat().st_mode & 0o777 == 0o600
    config = yaml.safe_load((experiment / "training/1/config.yaml").read_text())
    assert (config["db"], config["auth"]) == (
        {"password": "***"}, {"hf_token": "${oc.env:HF_TOKEN}"}
    )  # fmt: skip
    assert (config["header"], config["greeting"]) == ("Bearer ***", "Bearer ${oc.env:HF_TOKEN}")
    assert config["pad_token"] == "[PAD]"
    assert "db.password: ${oc.env:DB_PASSWORD}" in done.stdout + done.stderr
    # Another password is no other run.
    config_file = planted.folder / "config.yaml"
    config_file.write_text(CONFIG.replace("header", "passwd: NEW\nheader").replace("/SLASH", "X"))
    again = planted.run(
        "python", "train.py", "-m", "x=1,2", "+api_token=another", "expkit.dry_run=true",
        **VARIABLES,
    )  # fmt: skip
    assert "1 completed" in again.stdout


@pytest.mark.parametrize("x", [1, 2])
def test_a_single_run_shows_no_secret_anywhere(planted, x):
    done = planted.run(
        "python", "train.py", f"x={x}", "+api_token=PLANTED-OVERRIDE", code=x - 1, **VARIABLES
    )

    run = planted.folder / "results" / "first" / "training" / f"{x}"
    assert json.loads((run / "run.json").read_text())["state"] == ["completed", "failed"][x - 1]
    assert shows(planted, done) == set()
    assert sorted(path.name for path in (run / ".hydra").iterdir()) == [
        "config.yaml", "hydra.yaml", "overrides.yaml",
    ]  # fmt: skip
    overrides = yaml.safe_load((run / ".hydra" / "overrides.yaml").read_text())
    assert overrides == [f"x={x}", "+api_token=***"]


@pytest.mark.parametrize("launcher", ["basic", "expkit"])
def test_files_of_a_foreign_sweeper_show_no_secret(planted, launcher):
    planted.run(
        "python", "train.py", "-m", "x=1,2", "+api_token=PLANTED-OVERRIDE",
        "hydra/sweeper=basic", f"hydra/launcher={launcher}", code=1, **VARIABLES,
    )  # fmt: skip

    training = planted.folder / "results" / "first" / "training"
    done = subprocess.CompletedProcess([], 0, "", "")  # what it prints is the sweeper's
    assert shows(planted, done) == set()
    assert (training / "multirun.yaml").exists()


@pytest.mark.parametrize(
    "swept",
    ["db.password=PLANTED-A,PLANTED-B", "x=http://u:PLANTED@a,http://u:PLANTED@b",
     "db={password:PLANTED-A},{password:PLANTED-B}"],
)  # fmt: skip
def test_sweeping_a_secret_is_refused(planted, swept):
    done = planted.run("python", "train.py", "-m", swept, code=1, **VARIABLES)

    assert "cannot be swept: its values hold secrets" in done.stderr
    assert shows(planted, done) == set()


def test_expkits_list_of_secrets_is_the_default():
    conf = files("expkit_hydra").joinpath("conf/expkit.yaml").read_text(encoding="utf-8")

    assert yaml.safe_load(conf)["expkit"]["secrets"] == [*SECRET_KEYS]


def test_users_extend_the_list_of_secrets(planted):
    config = CONFIG.replace("experiment_id", "pin_code: '987654321'\nexperiment_id").replace(
        "after: [plot]", "after: [], secrets: ['^pin_code$', 'password$', 'token$']"
    )
    (planted.folder / "config.yaml").write_text(config)
    planted.run("python", "train.py", "-m", "x=1", "+api_token=PLANTED-OVERRIDE", **VARIABLES)

    for path in planted.folder.joinpath("results").rglob("*"):
        if path.is_file() and path.name != "secrets.json":
            assert b"987654321" not in path.read_bytes(), path
