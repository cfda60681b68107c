"""What a user asks of Slurm: names, values, and what is refused before sbatch sees it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from expkit_slurm import SlurmError
from expkit_slurm._cluster.options import (
    EXCLUDING,
    RESOURCES,
    merge_options,
    parse_arguments,
    sbatch_options,
    to_arguments,
    to_resources,
)


def test_what_is_not_set_is_left_to_the_script():
    assert sbatch_options(dict.fromkeys(RESOURCES)) == ()
    assert sbatch_options({"exclusive": False, "additional_parameters": {"hold": False}}) == ()


def test_the_names_are_submitits():
    slurm = pytest.importorskip("submitit.slurm.slurm")
    names = set(slurm._get_default_parameters())

    for name in names - set(RESOURCES):  # what is no resource says what to do instead
        if name in ("signal_delay_s", "array_parallelism", "wckey"):
            continue  # settings of ours, and a label that goes into additional_parameters
        with pytest.raises(
            SlurmError, match=r"is the manager's to set|is not known\. (?!Did|Allowed)"
        ):
            sbatch_options({name: 1})
    assert set(RESOURCES) <= names


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"mem": "32G", "cpus_per_task": 4}, "--cpus-per-task=4 --mem=32G"),
        ({"exclusive": True, "qos": None}, "--exclusive"),
        ({"exclusive": "user"}, "--exclusive=user"),
        ({"exclude": ["n1", "n2"]}, "--exclude=n1,n2"),
        ({"exclude": OmegaConf.create(["n1", "n2"])}, "--exclude=n1,n2"),
        ({"time": 90}, "--time=01:30:00"),
        ({"time": 90.0}, "--time=01:30:00"),
        ({"time": 1500}, "--time=1-01:00:00"),
        ({"time": "90"}, "--time=90"),
        ({"time": "UNLIMITED"}, "--time=UNLIMITED"),
        ({"mem": 0}, "--mem=0"),
        ({"mem": 4000}, "--mem=4000"),
        ({"gpus_per_node": "a100:2"}, "--gpus-per-node=a100:2"),
        ({"gres": "gpu:1"}, "--gres=gpu:1"),
        ({"nodes": "1-4"}, "--nodes=1-4"),
        ({"comment": "für Ada"}, "--comment=für Ada"),
        ({"dependency": "afterok:12"}, "--dependency=afterok:12"),
        ({"additional_parameters": {"reservation": "r1", "no_requeue": True}},
         "--no-requeue --reservation=r1"),
        ({"additional_parameters": {"some-option-of-2030": 1}}, "--some-option-of-2030=1"),
        ({"mem": "1G", "additional_parameters": {"mem": "2G"}}, "--mem=2G"),
        ({"mem": "1G", "additional_parameters": {"mem-per-cpu": "2G"}}, "--mem-per-cpu=2G"),
    ],
)  # fmt: skip
def test_values_become_options_of_sbatch(values, line):
    assert " ".join(to_arguments(sbatch_options(values))) == line


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"partion": "gpu"}, "Did you mean partition? Allowed: account, "),
        ({"reservation": "r"}, "goes into additional_parameters: {reservation: r}"),
        ({"timeout_min": 60}, "Write time: 90"),
        ({"mem_gb": 60}, "Write mem: 16G"),
        ({"job_name": "a"}, "found again by it"),
        ({"array": "0-3"}, "array_parallelism"),
        ({"additional_parameters": {"output": "x"}}, "`expkit logs`"),
        ({"additional_parameters": {"job_name": "x"}}, "found again by it"),
        ({"additional_parameters": {"wait": True}}, "hydra.launcher.wait"),
        ({"additional_parameters": {"ntasks": 2}}, "tasks_per_run"),
        ({"additional_parameters": "--hold"}, "must map options"),
        ({"additional_parameters": {"--hold": True}}, "without the leading dashes"),
        ({"mem": "1G", "mem_per_cpu": "1G"}, "mem and mem-per-cpu are both set"),
        ({"cpus_per_task": 2, "cpus_per_gpu": 2}, "sbatch takes one of them"),
        ({"mem": "lots"}, "32G, 1536M"),
        ({"mem": "1.5G"}, "32G, 1536M"),
        ({"mem": -1}, "32G, 1536M"),
        ({"mem": True}, "--mem of sbatch needs one"),
        ({"mem": 32}, "mem=32 is 32 megabytes to Slurm. Write mem=32G"),
        ({"time": "4h"}, 'four hours are "04:00:00"'),
        ({"time": -1}, "no time that Slurm reads"),
        ({"time": 0}, "UNLIMITED stands for no limit"),
        ({"time": "00:00:00"}, "UNLIMITED stands for no limit"),
        ({"time": 1.5}, "no time that Slurm reads"),
        ({"time": "1:2:3:4"}, "no time that Slurm reads"),
        ({"cpus_per_task": 0}, "a whole number, 1 or more"),
        ({"cpus_per_task": 1.5}, "a whole number, 1 or more"),
        ({"nodes": "two"}, "a range such as 1-4"),
        ({"gpus_per_node": "a100"}, "a100:2"),
        ({"partition": ""}, "null leaves it to the script"),
        ({"comment": "two\nlines"}, "of one line"),
        ({"gres": {"gpu": 1}}, "must be text, a number, a list"),
        ({"exclude": []}, "must be text, a number, a list"),
    ],
)
def test_what_slurm_would_not_take_is_refused_with_the_cure(values, text):
    with pytest.raises(SlurmError) as error:
        sbatch_options(values)

    assert text in str(error.value)


@pytest.mark.parametrize("written", ["4:00:00", "1:00:00", "4:00:30"])
def test_a_time_that_yaml_reads_in_base_60_is_not_taken_for_minutes(written):
    value = OmegaConf.create(f"time: {written}").time
    assert isinstance(value, int)

    with pytest.raises(SlurmError) as error:
        sbatch_options({"time": value})
    assert f'time: "{written}", in quotes' in str(error.value)
    assert f'time: "{value}" for the minutes' in str(error.value)
    assert sbatch_options({"time": written}) == (("time", written),)
    assert sbatch_options({"time": str(value)}) == (("time", str(value)),)


@given(st.integers(1, 3599))
def test_minutes_are_written_as_a_time_that_is_as_long(minutes):
    ((_, text),) = sbatch_options({"time": minutes})

    days, _, clock = text.rpartition("-")
    hours, minute, seconds = map(int, clock.split(":"))
    assert (int(days or 0) * 24 + hours) * 60 + minute == minutes
    assert seconds == 0


def test_on_a_command_line_options_are_written_as_for_sbatch():
    words = ["--mem", "32G", "--time=4:00:00", "--exclusive", "-p", "gpu", "-c4", "--hold"]

    assert parse_arguments(words) == (
        ("cpus-per-task", "4"),
        ("exclusive", None),
        ("hold", None),
        ("mem", "32G"),
        ("partition", "gpu"),
        ("time", "4:00:00"),
    )


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--mme", "32G"], "Did you mean --mem?"),
        (["--mem"], "--mem has no value"),
        (["--mem", "--time=5"], "mem='--time=5'"),  # as sbatch has it
        (["-c"], "-c has no value"),
        (["-Z", "1"], "-Z is no option of sbatch"),
        (["--exclusive", "user"], "takes its value after `=`"),
        (["32G"], "'32G' is no option"),
        (["--"], "'--' is no option"),
        (["--mem=1G", "--mem-per-cpu=1G"], "both set"),
        (["--array=0-3"], "array_parallelism"),
        (["-W"], "whether to wait"),
    ],
)
def test_a_command_line_that_sbatch_would_not_take_is_refused(words, text):
    with pytest.raises(SlurmError) as error:
        parse_arguments(words)

    assert text in str(error.value)


NAMES = ["mem", "mem-per-cpu", "mem-per-gpu", "time", "exclusive", "reservation", "partition"]
VALUES = {"exclusive": st.none(), "partition": st.sampled_from(["gpu", "a b"])}
OPTIONS = (
    st.fixed_dictionaries(
        {}, optional={name: VALUES.get(name, st.sampled_from(["100", "4000"])) for name in NAMES}
    )
    .filter(lambda options: all(len(group & options.keys()) < 2 for group in EXCLUDING))
    .map(lambda options: tuple(sorted(options.items(), key=lambda option: option[0])))
)


@given(OPTIONS)
def test_options_survive_the_command_line_and_the_way_back_to_values(options):
    assert parse_arguments(to_arguments(options)) == options
    assert sbatch_options(to_resources(options)) == options


@given(OPTIONS, OPTIONS)
def test_changes_win_and_never_leave_two_that_exclude_each_other(options, changes):
    both = merge_options(options, changes)

    assert set(changes) <= set(both) <= set(options) | set(changes)
    assert [name for name, _ in both] == sorted({name for name, _ in both})
    assert all(len(group & dict(both).keys()) < 2 for group in EXCLUDING)
    assert merge_options(both, changes) == both
