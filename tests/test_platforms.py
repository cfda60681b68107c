"""What expkit does on systems that this one is not: a Mac, other languages, other time zones.

There is no Mac here. Where `unshare` may do so, the real /proc is moved out of sight; sitecustomize
in `macos/` does the rest (see there).
"""

import json
import os
import subprocess
import sys

import pytest
from workspace import REPOSITORY

pytestmark = pytest.mark.integration

HIDE_PROC = """
mount --rbind /proc "$EXPKIT_PROC" && mount -t tmpfs none /proc && mkdir /proc/self &&
ln -s "$EXPKIT_PROC/self/fd" /proc/self/fd && cp "$EXPKIT_PROC/stat" /proc/stat && exec "$@"
"""  # /dev/fd, which leads there, is on a Mac, too; psutil reads stat as it is imported


@pytest.fixture
def mac(tmp_path):
    """The beginning of a command, and an environment, that make a process think it is on a Mac."""
    proc = tmp_path / "proc"
    proc.mkdir()
    paths = [str(REPOSITORY / "tests" / "macos"), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {
        "EXPKIT_PROC": str(proc),
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "TZ": "Asia/Tokyo",
    }
    prefix = ["unshare", "--mount", "--map-root-user", "sh", "-c", HIDE_PROC, "sh"]
    try:
        subprocess.run([*prefix, "true"], env=environment, capture_output=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        prefix, environment["EXPKIT_PROC"] = [], "/proc"
    return prefix, environment


@pytest.mark.parametrize(
    ("package", "modules", "choice"),
    [
        (
            "expkit-bookkeeping",
            ["runs/test_claims.py", "runs/test_held_runs.py", "runs/test_takeover.py"],
            "killed or racing or race or living or former or open_already or reopens",
        ),
        (
            "expkit-mlflow",
            ["journal/test_journal.py", "store/test_lock.py", "test_logger.py"],
            "owner or holder or killed or without_locks",
        ),
        (
            "expkit-hydra",
            ["scripts/test_launcher.py", "scripts/test_single_run.py"],
            "half_way or another_process_has",
        ),
    ],
)
def test_owners_and_locks_are_judged_without_proc_as_with_it(mac, package, modules, choice):
    prefix, environment = mac
    tests = REPOSITORY / "packages" / package / "tests"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", choice]

    done = subprocess.run(
        [*prefix, *command, *(str(tests / module) for module in modules)],
        env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-1000:]


TRAIN = """
import hydra
from expkit_bookkeeping import Bookkeeping
from expkit_timer import Timers

@hydra.main(version_base="1.3", config_path=".", config_name="config")
def main(cfg):
    timers = Timers()
    with Bookkeeping.from_config(cfg) as run:
        run.save_timer(timers)
        with timers("读取"):
            run.log_metrics({"präzision/中": len(cfg.lang)}, step=0)
        run.save_results({"точность": 0.5}, "résultats")

main()
"""
CONFIG = """
defaults: [expkit, _self_]
experiment_id: été
lang: x
größe: 3
expkit: {metric: präzision/中, after: []}
hydra: {sweeper: {params: {lang: [中文, İ, a b, a-b]}}}
"""
NAMES = ["中文", "İ", "a-b-541e27fe", "a-b-ff096ad9"]


@pytest.fixture
def languages(empty):
    (empty.folder / "train.py").write_text(TRAIN, encoding="utf-8")
    (empty.folder / "config.yaml").write_text(CONFIG, encoding="utf-8")
    return empty


def test_names_of_all_languages_pass_through_a_terminal_that_lacks_them(languages):
    surroundings = {"PYTHONIOENCODING": "ascii", "TZ": "Asia/Tokyo", "LC_ALL": "C"}
    swept = languages.run("python", "train.py", "-m", **surroundings)
    folder = languages.folder / "results" / "été"

    assert sorted(path.name for path in (folder / "training").iterdir()) == sorted(NAMES)
    assert r"\u4e2d\u6587" in swept.stdout
    for verb in ("status", "table", "show"):
        names = ["中文"] if verb == "show" else []
        shown = languages.run("expkit", verb, "results/été", *names, **surroundings)
        assert r"\u4e2d\u6587" in shown.stdout
    record = json.loads((folder / "training" / "中文" / "run.json").read_text("utf-8"))
    assert record["started_at"].endswith("+00:00")


def test_names_of_all_languages_reach_plots_tables_tracking_and_archives(languages):
    languages.run("python", "train.py", "-m")
    for verb in ("sync", "plot", "export"):
        languages.run("expkit", verb, "results/été")
    latex = languages.run("expkit", "table", "results/été", "--latex").stdout
    decomposed = languages.run("expkit", "show", "results/été", "I\u0307").stdout

    assert (languages.folder / "results/été/plots/präzision_中.png").is_file()
    assert (languages.folder / "été.zip").is_file()
    assert "中文 & " in latex
    assert decomposed.startswith("İ: completed")


def test_a_locale_without_such_file_names_is_said_before_anything_starts(languages):
    surroundings = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    refused = languages.run("python", "train.py", "-m", "experiment_id=x", code=1, **surroundings)

    assert r"\u4e2d\u6587 cannot be a file's name here" in refused.stderr
    assert "Set PYTHONUTF8=1" in refused.stderr
    assert not (languages.folder / "results").exists()
