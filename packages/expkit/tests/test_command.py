import os
import subprocess
import sys
import types

import pytest

from expkit.__main__ import main


def expkit(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "expkit", *arguments], capture_output=True, text=True, check=False
    )


@pytest.fixture
def install(monkeypatch):
    """A function that makes these the only installed verbs, as pairs of name and command."""

    def install(*verbs):
        entry_points = [
            types.SimpleNamespace(
                name=name, value=f"module_{number}:{name}", load=lambda c=command: c
            )
            for number, (name, command) in enumerate(verbs)
        ]
        monkeypatch.setattr(
            "importlib.metadata.entry_points",
            lambda group: entry_points[::-1] if group == "expkit.commands" else [],
        )

    return install


def test_help_has_one_line_per_installed_verb():
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
def test_a_verb_gets_the_rest_of_the_command_line(verb):
    done = expkit(verb, "--help")

    assert done.returncode == 0
    assert verb in done.stdout


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("argument", ["--help", "--version", "slurm-script"])
def test_it_ends_quietly_when_the_reader_of_its_output_has_gone(argument, unbuffered):
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


def test_a_broken_pipe_of_the_verbs_own_is_an_error(install):
    def status(arguments):
        raise BrokenPipeError(32, "the server hung up")

    install(("status", status))

    with pytest.raises(BrokenPipeError, match="the server hung up"):
        main(["status"])


@pytest.mark.parametrize(
    ("verb", "text"),
    [
        ("sync", "comes with expkit-mlflow, which is not installed: pip install expkit-mlflow"),
        ("statsu", "There is no verb 'statsu'. Did you mean 'status'? Installed: plot."),
        ("zzz", "There is no verb 'zzz'. Installed: plot."),
    ],
)
def test_the_answer_to_an_unknown_verb_says_what_to_do(verb, text, install, capsys):
    install(("plot", lambda arguments: 0))

    assert main([verb]) == 2
    assert text in capsys.readouterr().err


def test_an_unknown_verb_is_an_error_on_stderr_with_exit_code_2():
    done = expkit("statsu")

    assert done.returncode == 2
    assert "Did you mean 'status'?" in done.stderr
    assert done.stdout == ""


def test_the_first_of_two_verbs_with_the_same_name_wins(install):
    install(("plot", lambda arguments: 11), ("plot", lambda arguments: 22))

    assert main(["plot"]) == 11


def test_help_aligns_the_descriptions_of_the_verbs(install, capsys):
    def plot(arguments):
        """Draw."""

    def cleanup(arguments):
        """Delete.

        And more.
        """

    install(("plot", plot), ("cleanup", cleanup))

    assert main(["--help"]) == 0
    assert "  cleanup  Delete.\n  plot     Draw.\n\n" in capsys.readouterr().out
