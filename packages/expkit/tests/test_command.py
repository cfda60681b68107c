import os
import subprocess
import sys
import types
from importlib.metadata import EntryPoint

import pytest

from expkit.__main__ import main
from expkit._verbs import GROUP, overview, unknown_verb, verbs


def expkit(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "expkit", *arguments], capture_output=True, text=True, check=False
    )


def test_help_lists_a_line_for_every_installed_verb():
    done = expkit("--help")

    assert done.returncode == 0
    for verb in ("status", "show", "cleanup", "plot", "sync", "ui"):
        assert f"\n  {verb} " in done.stdout
    assert "cannot be loaded" not in done.stdout


def test_version_names_every_installed_package():
    done = expkit("--version")

    assert done.returncode == 0
    lines = dict(line.split(" ") for line in done.stdout.splitlines())
    assert next(iter(lines)) == "expkit"
    assert {"expkit-hydra", "expkit-timer"} <= set(lines)


@pytest.mark.parametrize("verb", ["status", "plot", "sync"])
def test_a_verb_takes_the_rest_of_the_command_line(verb):
    done = expkit(verb, "--help")

    assert done.returncode == 0
    assert verb in done.stdout


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("argument", ["--help", "--version", "slurm-script"])
def test_a_reader_that_has_gone_ends_it_quietly(argument, unbuffered):
    read, write = os.pipe()
    os.close(read)

    done = subprocess.run(
        [sys.executable, "-m", "expkit", argument],
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )

    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_broken_pipe_of_the_verbs_own_is_an_error(monkeypatch):
    def verb(arguments):
        raise BrokenPipeError(32, "the server hung up")

    entry = types.SimpleNamespace(name="status", value="", load=lambda: verb)
    monkeypatch.setattr("expkit.__main__.entry_points", lambda group: [entry])

    with pytest.raises(BrokenPipeError, match="the server hung up"):
        main(["status"])


@pytest.mark.parametrize(
    ("verb", "text"),
    [
        ("sync", "comes with expkit-mlflow, which is not installed: pip install expkit-mlflow"),
        ("statsu", "No verb 'statsu'. Did you mean 'status'? Installed: plot."),
        ("zzz", "No verb 'zzz'. Installed: plot."),
    ],
)
def test_an_unknown_verb_is_answered_with_what_to_do(verb, text):
    assert text in unknown_verb(verb, {"plot": None})


def test_an_unknown_verb_ends_with_code_2_and_says_so_on_stderr():
    done = expkit("statsu")

    assert done.returncode == 2
    assert "Did you mean 'status'?" in done.stderr
    assert done.stdout == ""


def test_the_first_of_two_entries_of_one_name_wins():
    first, second = (EntryPoint("plot", value, GROUP) for value in ("a:plot", "b:plot"))

    assert verbs([second, first]) == {"plot": first}


def test_the_overview_aligns_what_the_verbs_do():
    text = overview({"plot": "Draw.", "cleanup": "Delete."})

    assert "  plot     Draw.\n  cleanup  Delete.\n" in text
