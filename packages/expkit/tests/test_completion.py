"""What a real shell makes of a line when Tab is pressed; Enter then runs a stand-in of `expkit`."""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from expkit.__main__ import main
from expkit._completion.script import SHELLS
from expkit._completion.shell_words import quote, unquote

EXPKIT = Path(sys.executable).with_name("expkit")
RAN = b"<ran>"
# Answers the script as `expkit` does, and keeps the words that it would be run with.
STAND_IN = f"""#!/bin/sh
if [ "$1" = __complete ]; then exec '{EXPKIT}' "$@"; fi
printf '%s\\0' "$@" >"$WORDS"
printf '{RAN.decode()}'
"""
START = {
    "bash": (
        ["bash", "--norc", "--noprofile", "-i"],
        "source {script}",
    ),
    "zsh": (
        ["zsh", "-f", "-i"],
        'autoload -Uz compinit; compinit -u -D; eval "$(<{script})"',
    ),
    "tcsh": (["tcsh", "-f"], "source {script}"),
}
HOSTILE = [
    "my run",
    "it's",
    'say "hi"',
    "$(touch executed)",
    "`touch executed`",
    "a;touch executed&",
    "new\nline",
    "wow!",
    "back\\slash",
    "*",
    "#1",
    "~",
    "esc\x1b[31m",
    "größe µ",
    "日本 語",
]


class Terminal:
    """An interactive shell that has read the script of `expkit completion`."""

    def __init__(self, shell: str, folder: Path, script_file: Path):
        arguments, start = START[shell]
        self.shell = shell
        self.words_file = folder / "words"
        programs = folder / "programs"
        programs.mkdir()
        (programs / "expkit").write_text(STAND_IN)
        (programs / "expkit").chmod(0o755)
        environment = {
            **os.environ,
            "HOME": str(folder),
            "LC_ALL": "C.UTF-8",
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "TERM": "vt100",
            "WORDS": str(self.words_file),
        }
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                os.chdir(folder / "work")
                os.execvpe(arguments[0], arguments, environment)
            finally:
                os._exit(127)
        self.run(f"{start.format(script=script_file)}; expkit ready")

    def press_tab(self, typed: str, then: str = "") -> list[str]:
        """The words after `expkit` that are run when Tab and Enter are pressed after this line."""
        self.words_file.unlink()
        self.run(f"{typed}\t{then}")
        return self.words_file.read_text("utf-8").split("\0")[:-1]

    def run(self, line: str) -> None:
        os.write(self.fd, f"{line}\n".encode())
        shown = b""
        deadline = time.monotonic() + 20
        while RAN not in shown:
            ready, _, _ = select.select([self.fd], [], [], deadline - time.monotonic())
            assert ready, shown
            shown += os.read(self.fd, 1 << 16)

    def close(self) -> None:
        os.close(self.fd)  # hangs up
        os.waitpid(self.pid, 0)


@pytest.fixture(params=SHELLS)
def shell(request):
    """Each shell that is there; CI says EXPKIT_REQUIRE=zsh,tcsh."""
    if shutil.which(request.param) is None:
        if request.param in os.environ.get("EXPKIT_REQUIRE", "").split(","):
            pytest.fail(f"{request.param} is missing")
        pytest.skip(f"needs {request.param}")
    return request.param


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A project's folder, in which this process and the shell work."""
    folder = tmp_path / "work"
    runs = folder / "results" / "digits" / "training"
    for name in ("cnn_sgd", "cnn_adam", "lr=0.1,seed=1", "a@b:c"):
        (runs / name).mkdir(parents=True)
    (runs / "cnn_sgd" / "metrics.jsonl").write_text(
        '{"step": 0, "time": 1.5, "metrics": {"val/accuracy": 0.5, "\\ud800": 1}}\n'
    )
    (runs / "cnn_sgd" / "run.json").write_text(
        '{"schema": 1, "id": "4f2a", "state": "completed", "swept": {"optimizer.lr": 0.1}}'
    )
    (runs / "notes.txt").touch()
    (folder / "results" / "my exp" / "training" / "solo").mkdir(parents=True)
    (folder / "conf" / "plotting").mkdir(parents=True)
    (folder / "conf" / "plotting" / "Mine.yaml").touch()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def terminal(shell, work, tmp_path):
    """The shell, with what `expkit completion` prints."""
    script_file = tmp_path / "script"
    script_file.write_bytes(
        subprocess.run([EXPKIT, "completion", shell], capture_output=True, check=True).stdout
    )
    terminal = Terminal(shell, tmp_path, script_file)
    yield terminal
    terminal.close()


def test_verbs_options_and_their_values_complete(terminal):
    assert terminal.press_tab("expkit sho") == ["show"]
    assert terminal.press_tab("expkit completion zs") == ["completion", "zsh"]
    assert terminal.press_tab("expkit plot results/digits --met")[2:] == ["--metric"]
    assert terminal.press_tab("expkit plot results/digits --direction ma")[3:] == ["maximize"]
    assert terminal.press_tab("expkit plot results/digits --style Mi")[3:] == ["Mine"]
    assert terminal.press_tab("expkit plot results/digits --metric v")[3:] == ["val/accuracy"]
    assert terminal.press_tab("expkit plot results/digits --group-by o")[3:] == ["optimizer.lr"]
    assert terminal.press_tab("expkit retry results/digits --state interr")[3].strip(",") == (
        "interrupted"
    )


def test_experiments_and_other_folders_complete(terminal):
    def completed(typed):  # zsh takes the last slash away when Enter is pressed
        return terminal.press_tab(typed)[-1].rstrip("/")

    assert completed("expkit status re") == "results"
    assert completed("expkit status results/d") == "results/digits"
    assert completed("expkit status results/m") == "results/my exp"
    assert completed("expkit plot results/digits --out con") == "conf"


def test_runs_of_the_experiment_before_complete(terminal):
    if terminal.shell != "tcsh":  # which gives the line without its quotes
        assert terminal.press_tab("expkit show results/my\\ exp so")[2] == "solo"
    assert terminal.press_tab("expkit show results/digits cnn_s") == [
        "show", "results/digits", "cnn_sgd",
    ]  # fmt: skip
    assert terminal.press_tab("expkit show results/digits cnn_")[2] == "cnn_"
    assert terminal.press_tab("expkit show results/digits no")[2] == "no"  # a file
    assert terminal.press_tab("expkit show --lines 3 results/digits/ lr")[4] == "lr=0.1,seed=1"
    assert terminal.press_tab("expkit show $HOME/work/results/digits cnn_a")[2] == "cnn_adam"
    assert terminal.press_tab("expkit show results/none cnn_s")[2] == "cnn_s"


@pytest.mark.parametrize("shell", ["bash", "zsh"], indirect=True)
def test_names_that_divide_words_in_bash_complete(terminal):
    assert terminal.press_tab("expkit cancel results/digits a@b:c cnn_a")[2:] == [
        "a@b:c", "cnn_adam",
    ]  # fmt: skip
    for begun in ("lr=", "lr=0.1,se", '"lr=0', "'lr=0.1,seed="):
        assert terminal.press_tab(f"expkit show results/digits {begun}")[2:] == ["lr=0.1,seed=1"]
    for begun in ("a@", "a@b", "a@b:", '"a@b:'):
        assert terminal.press_tab(f"expkit show results/digits {begun}")[2:] == ["a@b:c"]


@pytest.mark.parametrize("shell", ["bash"], indirect=True)
def test_a_value_completes_after_an_equals_sign_and_after_a_comma(terminal):
    assert terminal.press_tab("expkit plot x --style=Mi")[2:] == ["--style=Mine"]
    assert terminal.press_tab("expkit plot x --out=con")[2:] == ["--out=conf/"]
    assert terminal.press_tab("expkit retry x --state failed,inter")[3:] == ["failed,interrupted"]
    assert terminal.press_tab("expkit retry x --state=failed,inter")[2:] == [
        "--state=failed,interrupted"
    ]


@pytest.mark.parametrize("shell", ["bash", "zsh"], indirect=True)
@pytest.mark.parametrize("opened", ["", "'", '"'])
def test_names_are_completed_quoted_and_never_executed(terminal, work, opened):
    names = [f"{number:03d}{name}" for number, name in enumerate(HOSTILE)]
    for name in names:
        (work / "results" / name / "training").mkdir(parents=True)
        (work / "results" / "digits" / "training" / name).mkdir()
    closed = opened if terminal.shell == "zsh" else ""  # where more of a path may follow

    for name in names:
        completed = terminal.press_tab(f"expkit status {opened}results/{name[:3]}", then=closed)
        assert completed[1].rstrip("/") == f"results/{name}"
        completed = terminal.press_tab(f"expkit show results/digits {opened}{name[:3]}")
        assert completed == ["show", "results/digits", name]

    assert not (work / "executed").exists()


@pytest.mark.parametrize("shell", ["tcsh"], indirect=True)
def test_names_that_tcsh_would_divide_are_left_out(terminal, work):
    for name in HOSTILE:
        (work / "results" / "digits" / "training" / f"x_{name}").mkdir()

    assert terminal.press_tab("expkit show results/digits x")[2] == "x"
    assert not (work / "executed").exists()


def test_metrics_and_styles_complete_in_each_verb_that_takes_them():
    done = subprocess.run(
        [EXPKIT, "completion", "bash"], capture_output=True, text=True, check=True
    )

    for option, kind in {"--metric": "metrics", "--style": "styles", "--repeat": "keys"}.items():
        verbs = re.findall(rf"^_shtab_expkit_(\w+)_option_strings=.*{option}\b", done.stdout, re.M)
        assert verbs
        for verb in verbs:
            assert f"_shtab_expkit_{verb}___{option[2:]}_COMPGEN=_expkit_{kind}\n" in done.stdout


def test_a_word_may_be_an_experiment_or_a_run(terminal):
    assert terminal.press_tab("expkit plot results/d")[1].rstrip("/") == "results/digits"
    assert terminal.press_tab("expkit plot results/digits cnn_s")[2] == "cnn_sgd"
    if terminal.shell != "tcsh":
        assert terminal.press_tab("expkit plot results/digits res")[2].rstrip("/") == "results"


def test_a_thousand_runs_are_listed_while_a_key_is_pressed(work):
    for number in range(1000):
        (work / "results" / "many" / "training" / f"run_{number}").mkdir(parents=True)
    command = [EXPKIT, "__complete", "zsh", "runs", "show", "results/many"]

    times = []
    for _ in range(5):
        begin = os.times()
        listed = subprocess.run(command, capture_output=True, check=True).stdout.split(b"\0")
        end = os.times()
        times.append(sum(end[2:4]) - sum(begin[2:4]))

    assert len(listed) == 1001
    assert min(times) < 0.1  # seconds of CPU, whatever else the machine does


@pytest.mark.parametrize("kind", ["runs", "experiments", "styles", "metrics", "keys"])
def test_what_answers_the_shell_imports_nothing_that_it_does_not_need(kind, work):
    code = f"""
import sys
from expkit.__main__ import main
main(["__complete", "bash", {kind!r}, "", "show", "results/digits", ""])
print(*sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    modules = done.stdout.split()
    assert len(done.stdout.splitlines()) > 1
    assert not {"importlib.metadata", "hydra", "yaml", "pandas", "matplotlib"}.intersection(modules)


def test_a_package_that_is_broken_keeps_its_verb_and_leaves_the_others_their_options(
    monkeypatch, capsys
):
    class Broken:
        name, value = "aaa", "aaa:verb"

        def load(self):
            raise ImportError("torn")

    monkeypatch.setattr(
        "importlib.metadata.entry_points",
        lambda group: [Broken(), *entry_points(group=group)],
    )

    assert main(["completion", "bash"]) == 0
    printed = capsys.readouterr().out
    assert "_shtab_expkit_aaa_option_strings=(-h --help)" in printed
    assert "--group-by" in printed


def test_without_shtab_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "shtab", None)

    assert main(["completion", "bash"]) == 69
    assert "pip install shtab" in capsys.readouterr().err


TEXTS = st.text(
    st.characters(codec="utf-8", exclude_characters="\0") | st.sampled_from("\\'\"$`!\n\x7f\udcff"),
    min_size=1,
    max_size=12,
)


@settings(deadline=None, max_examples=30)  # each starts bash
@given(st.lists(st.tuples(TEXTS, st.sampled_from(["", "'", '"', "$'"])), min_size=1, max_size=50))
@example([("ends'", "'"), ('ends"', '"'), ("ends'", "$'"), ("wow!", '"'), ("\x1fa", "")])
def test_bash_reads_a_quoted_text_as_what_it_was(pairs):
    texts, words = [], []
    for text, opened in pairs:
        word = opened + quote(text, opened)
        closed = unquote(word)[1] == ""
        texts.append(text)
        words.append(word if closed else word + opened[-1])
        assert unquote(words[-1]) == (text, "")

    done = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {' '.join(map(os.fsdecode, words))}"],
        capture_output=True, check=True, env={**os.environ, "LC_ALL": "C.UTF-8"},
    )  # fmt: skip

    shown = done.stdout.split(b"\0")[:-1]
    assert [os.fsdecode(text) for text in shown] == texts
