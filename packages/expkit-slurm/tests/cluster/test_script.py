"""The user's batch script, read as sbatch reads it."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expkit_slurm import SlurmError
from expkit_slurm._cluster.options import sbatch_options
from expkit_slurm._cluster.script import (
    default_script,
    describe_overrides,
    find_script,
    read_script,
    refuse_conflicts,
    split_directive,
)

SCRIPT = """#!/bin/bash
# my cluster
#SBATCH --time=04:00:00

#SBATCH --mem 16G -c 4    # -J not_this
##SBATCH --partition=old
# SBATCH --partition=old
  #SBATCH --partition=old
#SBATCH -Jdigits --comment="a #1" --exclusive
module load python
#SBATCH --time=99

exec "$@"
"""


@pytest.fixture
def write(tmp_path):
    def write_script(text: str, name: str = "gpu_scripts/grid_search_array.sh") -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, newline="")
        return path

    return write_script


def test_the_lines_that_sbatch_reads_are_read(write):
    script = read_script(write(SCRIPT))

    assert [
        (directive.line, directive.option, directive.value) for directive in script.directives
    ] == [
        (3, "time", "04:00:00"),
        (5, "mem", "16G"),
        (5, "cpus-per-task", "4"),
        (9, "job-name", "digits"),
        (9, "comment", "a #1"),
        (9, "exclusive", None),
    ]


def test_of_two_lines_the_later_holds(write):
    script = read_script(
        write('#!/bin/sh\n#SBATCH --time=10\n#SBATCH -t 20\n#SBATCH --tim=1\nexec "$@"\n')
    )

    assert script.value("time") == "20"  # --tim may be --time-min, so it is neither
    assert script.value("qos") is None


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        ("#SBATCH --time=10\n#SBATCH --time 20", ["TimeLimit=00:20:00"]),
        ("\n# a\n#SBATCH -t30 -c2 # -J no", ["TimeLimit=00:30:00", "CPUs/Task=2"]),
        ('#SBATCH --comment="a \\"b" -J\'x y\'', ['Comment=a "b', "JobName=x y"]),
        ("#SBATCH --comment=a\\#b#c --time=1", ["Comment=a#b", "TimeLimit=UNLIMITED"]),
        (" #SBATCH -t1\n##SBATCH -t1\n# SBATCH -t1\ntrue\n#SBATCH -t1", ["TimeLimit=UNLIMITED"]),
        ("#SBATCH--job-nam=it's' -Ht 5", ["JobName=its\n", "TimeLimit=00:05:00"]),
    ],
)
def test_slurm_itself_reads_the_lines_so(cluster, write, lines, shown):
    path = write(f'#!/bin/bash\n{lines}\nexec "$@"\n')

    job = cluster.run("sbatch", "--parsable", "--hold", f"--chdir={path.parent}", str(path), "true")
    facts = cluster.run("scontrol", "show", "job", job.strip())

    assert [fact for fact in shown if fact not in facts] == []
    script = read_script(path)
    options = {"TimeLimit": "time", "CPUs/Task": "cpus-per-task", "JobName": "job-name"}
    for fact in shown:
        key, _, value = fact.strip().partition("=")
        read = script.value(options.get(key, key.lower()))
        if key == "TimeLimit":
            assert (read is None) == (value == "UNLIMITED")
            assert read is None or int(read) == int(value[3:5])
        else:
            assert read == value


ENDINGS = [
    ('exec "$@"', "exec"),
    ("exec $@", "exec"),
    ('exec "${@}"', "exec"),
    ('exec   "$@"   # hand over', "exec"),
    ('exec "$@"\n\n# the end\n', "exec"),
    ('exec \\\n  "$@"', "exec"),
    ('# a comment that ends in \\\nexec "$@"', "exec"),
    ('exec "$@" 2>&1', "exec"),
    ('"$@"', "plain"),
    ('  "$@" < /dev/null', "plain"),
    ('srun "$@"', "srun"),
    ('exec srun --cpus-per-task="$SLURM_CPUS_PER_TASK" --kill-on-bad-exit=1 "$@"', "srun"),
    ('srun \\\n  --cpu-bind=none \\\n  "$@"', "srun"),
    ("srun --export=ALL,A='b c' \"$@\"", "srun"),
    ('"$@"\necho done', "other"),
    ('if true; then\n  exec "$@"\nfi', "other"),
    ('apptainer exec image.sif "$@"', "other"),
    ('exec env A=1 "$@"', "other"),
    ('"$@" &\nwait', "other"),
    ('bash -c \'exec "$@"\' -- "$@"', "other"),
    ('echo "it\'s" && exec "$@"', "other"),
]


@pytest.mark.parametrize(("text", "ending"), ENDINGS)
def test_how_the_script_hands_over(write, text, ending):
    assert read_script(write(f"#!/bin/bash\n#SBATCH --time=5\n{text}\n")).ending == ending


@pytest.mark.parametrize(
    ("text", "ending"), [case for case in ENDINGS if case[1] in ("exec", "plain")]
)
def test_after_exec_the_command_is_the_process_that_slurm_signals(write, text, ending):
    path = write(f"#!/bin/bash\n{text}\n")
    command = ["bash", str(path), sys.executable, "-c", "print(__import__('os').getpid())"]

    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        output, _ = process.communicate(timeout=30)

    assert process.returncode == 0
    if ending == "exec":
        assert int(output) == process.pid


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("#!/bin/bash\npython train.py\n", '\n    exec "$@"'),
        ('#!/bin/bash\n# exec "$@"\n', "never runs the command"),
        ("#!/bin/bash\nexec '$@'\n", "never runs the command"),
        ("#!/bin/bash\nexec \\$@\n", "never runs the command"),
        ("#!/bin/bash\r\nexec \"$@\"\r\n", "sed -i 's/\\r$//' "),
        ('#SBATCH --time=5\nexec "$@"\n', "does not begin with `#!`"),
        ('\n#!/bin/bash\nexec "$@"\n', "does not begin with `#!`"),
        ("", "does not begin with `#!`"),
        ('#!/bin/bash\n#SBATCH time=5\nexec "$@"\n', "line 2 (#SBATCH time=5): 'time=5' is no opt"),
        ('#!/bin/bash\n#SBATCH -Z 5\nexec "$@"\n', "-Z is no option of sbatch"),
        ('#!/bin/bash\n#SBATCH --time\nexec "$@"\n', "--time has no value"),
        ('#!/bin/bash\n#SBATCH --comment="a\nexec "$@"\n', 'the quote " is not closed'),
        ('#!/bin/bash\n#SBATCH -W\nexec "$@"\n', "--wait has no place in the script of a grid"),
    ],
)  # fmt: skip
def test_a_script_that_would_train_nothing_is_refused(write, text, said):
    with pytest.raises(SlurmError) as error:
        read_script(write(text))

    assert said in str(error.value)
    assert "grid_search_array.sh" in str(error.value)


def test_a_script_in_another_encoding_is_read(write, tmp_path):
    path = write("")
    path.write_bytes('#!/bin/bash\n#SBATCH --comment=für\nexec "$@"\n'.encode("latin-1"))

    assert read_script(path).ending == "exec"


def test_the_usual_script_is_taken_where_it_is_and_the_default_elsewhere(write, tmp_path):
    default = find_script(None, tmp_path)
    write(SCRIPT)
    own = find_script(None, tmp_path)

    assert (default.is_default, default.path) == (True, default_script())
    assert (own.is_default, own.path) == (False, tmp_path / "gpu_scripts/grid_search_array.sh")


def test_the_default_script_asks_for_nothing_and_becomes_the_command():
    script = read_script(default_script())

    assert script.directives == ()
    assert script.ending == "exec"
    done = subprocess.run(
        ["bash", str(script.path), "echo", "a  b"], capture_output=True, text=True
    )
    assert done.stdout == "a  b\n"


def test_a_script_that_is_missing_is_named_with_what_is_there_and_how_to_begin(write, tmp_path):
    write(SCRIPT)
    write(SCRIPT, "gpu_scripts/long.sbatch")

    with pytest.raises(SlurmError) as error:
        find_script("gpu_scripts/grid_search_aray.sh", tmp_path)

    text = str(error.value)
    assert text.startswith("The batch script gpu_scripts/grid_search_aray.sh does not exist")
    assert "Did you mean gpu_scripts/grid_search_array.sh?" in text
    assert "gpu_scripts/long.sbatch" in text
    assert text.endswith("slurm-script > gpu_scripts/grid_search_array.sh")


def test_where_nothing_is_the_way_to_begin_makes_the_folder(tmp_path):
    with pytest.raises(SlurmError, match="mkdir gpu_scripts && "):
        find_script("mine.sh", tmp_path)


def test_a_folder_is_no_script(write, tmp_path):
    write(SCRIPT)

    with pytest.raises(SlurmError, match="gpu_scripts is a folder"):
        find_script("gpu_scripts", tmp_path)


def test_what_options_change_is_told_with_the_line(write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    script = read_script(write(SCRIPT))
    options = sbatch_options(
        {"time": "02:00:00", "partition": "gpu", "cpus_per_task": 4, "exclusive": "user"}
    )

    assert describe_overrides(script, options) == [
        "--cpus-per-task 4, as on line 5 of gpu_scripts/grid_search_array.sh",
        "--exclusive user, overrides line 9 of gpu_scripts/grid_search_array.sh",
        "--partition gpu",
        "--time 02:00:00, overrides line 3 of gpu_scripts/grid_search_array.sh (04:00:00)",
    ]


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("--mem=16G", {"mem_per_cpu": "4G"}),
        ("--mem-per-gpu=16G", {"mem": "4G"}),
        ("--cpus-per-task=4", {"cpus_per_gpu": 4}),
        ("--gres=gpu:1", {"gpus_per_node": 2}),
        ("--gpus-per-node=1", {"gres": "gpu:2"}),
    ],
)
def test_an_option_that_cannot_take_back_a_line_is_refused(write, line, values):
    script = read_script(write(f'#!/bin/bash\n#SBATCH {line}\nexec "$@"\n'))

    with pytest.raises(SlurmError, match="does not go with line 2 of"):
        refuse_conflicts(script, sbatch_options(values))


def test_gpus_go_beside_a_gres_that_is_none(write):
    script = read_script(write('#!/bin/bash\n#SBATCH --gres=lscratch:10\nexec "$@"\n'))

    assert refuse_conflicts(script, sbatch_options({"gpus_per_node": 1, "mem": "4G"})) is None


@given(st.lists(st.text("ab#'\"\\ =é", min_size=1)))
def test_quoted_words_come_out_as_they_went_in(words):
    quoted = ['"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"' for word in words]

    assert split_directive(" ".join(quoted)) == words
