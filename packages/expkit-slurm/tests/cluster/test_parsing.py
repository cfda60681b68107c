import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expkit_slurm._cluster.parsing import parse_duration_s, parse_indices, parse_sacct, parse_squeue
from expkit_slurm._cluster.tasks import Phase, Task, cause_of, phase_of

# Slurm 22.05.8 (Debian 12), SQUEUE_ARGUMENTS, SLURM_BITSTR_LEN=0; lines of several arrays.
SQUEUE_22_05 = """\
1|15|1|CANCELLED|0||0:00|0|Resources|
1|7|11|CANCELLED|15|node4|0:03|0|None|
1|0|4|COMPLETED|0|node1|0:00|0|None|
1|1|5|FAILED|1792|node1|0:00|0|NonZeroExitCode|
1|2|6|FAILED|9|node2|0:00|0|JobLaunchFailure|
1|4|8|FAILED|32512|node3|0:00|0|NonZeroExitCode|
1|6|10|FAILED|34304|node4|0:00|0|NonZeroExitCode|
20|N/A|20|FAILED|4021|node1|0:00|0|JobLaunchFailure|
1|9|13|PENDING|0||0:00|1|BeginTime|
3|1-40:3%2|3|PENDING|0||0:00|0|BeginTime|
19|1,3,5,7,9,11,13,15,17,19,21,23,25,27,29,31,33,35,37,39,41,43,45,47,49-50|19|PENDING|0||0:00|0|JobHeldUser|
26|0|27|PENDING|0||0:00|1|Nodes required for job are DOWN, DRAINED or reserved for jobs in higher \
priority partitions|
34|0-1|34|PENDING|0||0:00|0|ReqNodeNotAvail, UnavailableNodes:node4|
2|N/A|2|PENDING|0||0:00|0|JobHeldUser|
1|14|18|RUNNING|0|node4|1:02:03|0|None|
1|3|7|TIMEOUT|15|node2|1:09|0|TimeLimit|
33|0|36|NODE_FAIL|0|node3|0:26|0|NodeDown|
"""
# The same cluster with slurmdbd, SACCT_ARGUMENTS. Task 14 was running when its range was recorded.
SACCT_22_05 = """\
2|2|PENDING|0:0|None assigned|0
1_0|4|COMPLETED|0:0|node1|0
1_1|5|FAILED|7:0|node1|0
1_2|6|FAILED|0:9|node2|0
1_3|7|TIMEOUT|0:0|node2|69
1_7|11|CANCELLED by 0|0:0|node4|3
1_9|13|REQUEUED|0:0|node1|3
1_14|18|RUNNING|0:0|node4|3
1_[14-15%12]|1|CANCELLED by 0|0:0|None assigned|0
3_[1-40:3%2]|3|PENDING|0:0|None assigned|0
20|20|FAILED|0:53|node1|0
26_0|27|PREEMPTED|0:0|node1|16
33_0|36|NODE_FAIL|0:0|node3|26
"""


def named(tasks: list[Task]) -> dict[str, Task]:
    return {task.name: task for task in tasks}


def test_squeue_of_22_05_is_read():
    tasks = named(parse_squeue(SQUEUE_22_05))

    assert tasks["1_1"] == Task(
        "1", 1, "5", "FAILED", "NonZeroExitCode", "node1", exit_code=7, elapsed_s=0.0, restarts=0
    )
    assert tasks["1_14"].elapsed_s == 3723
    assert tasks["1_9"].restarts == 1
    assert tasks["2"].task_id is None
    assert tasks["26_0"].reason == (
        "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority "
        "partitions"
    )
    assert (tasks["1_2"].exit_code, tasks["1_2"].signal) == (None, 9)
    assert (tasks["1_14"].exit_code, tasks["1_14"].reason) == (None, None)


def test_pending_ranges_become_tasks():
    names = set(named(parse_squeue(SQUEUE_22_05)))

    assert {name for name in names if name.startswith("3_")} == {
        f"3_{index}" for index in range(1, 41, 3)
    }
    assert {"19_1", "19_47", "19_49", "19_50"} <= names
    assert "19_48" not in names


def test_causes_are_told_in_a_clause():
    causes = {name: cause_of(task) for name, task in named(parse_squeue(SQUEUE_22_05)).items()}

    assert causes["1_0"] is causes["1_14"] is causes["2"] is None
    assert causes["1_1"] == "exit code 7"
    assert causes["1_2"] == "killed by SIGKILL"  # although Slurm's reason is JobLaunchFailure
    assert causes["1_3"] == "time limit reached (TIMEOUT)"
    assert causes["1_4"] == "exit code 127"
    assert causes["1_6"] == "exit code 134 (128 + SIGABRT)"
    assert causes["1_7"] == causes["1_15"] == "cancelled"
    assert causes["20"] == "its log file could not be opened (Slurm: 0:53); does its folder exist?"
    assert causes["33_0"] == "its node failed (NODE_FAIL, node3)"


@pytest.mark.parametrize(
    ("state", "cause"),
    [
        ("OUT_OF_MEMORY", "out of memory (Slurm: OUT_OF_MEMORY)"),
        ("PREEMPTED", "preempted by another job (PREEMPTED)"),
        ("BOOT_FAIL", "its node did not boot (BOOT_FAIL, n1)"),
        ("DEADLINE", "its deadline passed (DEADLINE)"),
        ("FAILED", "FAILED (why)"),
        ("SUSPENDED", None),
        ("REQUEUE_HOLD", None),
        ("SOMETHING_NEW", None),
    ],
)
def test_a_cause_is_told_of_every_end_and_only_of_ends(state, cause):
    assert cause_of(Task("1", 2, "3", state, "why", "n1", exit_code=0)) == cause


def test_sacct_of_22_05_is_read():
    tasks = named(parse_sacct(SACCT_22_05))

    assert cause_of(tasks["1_1"]) == "exit code 7"
    assert cause_of(tasks["1_2"]) == "killed by SIGKILL"
    assert cause_of(tasks["1_7"]) == "cancelled by uid 0"
    assert tasks["1_7"].state == "CANCELLED"
    assert tasks["20"].signal == 53
    assert tasks["1_3"].elapsed_s == 69
    assert tasks["3_40"] == Task("3", 40, "3", "PENDING", elapsed_s=0.0)
    assert phase_of(tasks["1_9"].state) is Phase.PENDING


def test_a_task_that_runs_is_not_cancelled_with_the_range_it_waited_in():
    tasks = named(parse_sacct(SACCT_22_05))

    assert tasks["1_14"].state == "RUNNING"
    assert tasks["1_15"].state == "CANCELLED"


def test_headings_of_other_clusters_are_no_tasks():
    text = "CLUSTER: gpu\n\n7|N/A|7|RUNNING|0|g[1-2]|2-00:00:01|0|None|\n"

    assert parse_squeue(text) == [
        Task("7", None, "7", "RUNNING", node="g[1-2]", elapsed_s=172801.0, restarts=0)
    ]


def test_exit_codes_are_read_in_each_of_slurms_spellings():
    # code:signal as sacct and scontrol write it; NO_VAL where there is none yet. Not seen in 22.05.
    text = "7|1|8|FAILED|2:0|n1|0:01|0|None|\n7|2|9|FAILED|4294967294|n1|INVALID|N/A|None|\n"

    first, second = parse_squeue(text)

    assert (first.exit_code, first.signal) == (2, None)
    assert (second.exit_code, second.elapsed_s, second.restarts) == (None, None, None)


@pytest.mark.parametrize(
    "line",
    [
        "squeue: a message of a site's wrapper",
        "19|1,3,43...|19|PENDING|0||0:00|0|None|",  # cut: SLURM_BITSTR_LEN was not heeded
        "1N/A1PENDING00:000None",  # a version that does not know suffixes of fields
    ],
)
def test_what_cannot_be_read_is_an_error_and_never_a_missing_task(line):
    with pytest.raises(ValueError, match=r"range|expected"):
        parse_squeue(line + "\n")


@pytest.mark.parametrize("line", ["1_[3,5...]|1|PENDING|0:0|None assigned|0", "a|b", "x|1|F|0|n|0"])
def test_sacct_that_cannot_be_read_is_an_error(line):
    with pytest.raises(ValueError, match=r"range|expected"):
        parse_sacct(line)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("PENDING REQUEUED REQUEUE_FED REQUEUE_HOLD RESV_DEL_HOLD SPECIAL_EXIT", Phase.PENDING),
        ("RUNNING COMPLETING CONFIGURING SUSPENDED STOPPED SIGNALING RESIZING", Phase.ACTIVE),
        ("STAGE_OUT LAUNCH_FAILED RECONFIG_FAIL POWER_UP_NODE WHATEVER_COMES", Phase.ACTIVE),
        ("COMPLETED FAILED CANCELLED TIMEOUT OUT_OF_MEMORY NODE_FAIL PREEMPTED", Phase.OVER),
        ("BOOT_FAIL DEADLINE REVOKED CANCELLED+ completed", Phase.OVER),
    ],
)
def test_words_have_a_phase_and_unknown_ones_are_never_over(words, expected):
    assert {phase_of(word) for word in words.split()} == {expected}


def as_slurm_writes(indices: list[int]) -> str:
    """Runs of neighbours as `a-b`, all others alone."""
    parts: list[list[int]] = []
    for index in indices:
        if parts and index == parts[-1][-1] + 1:
            parts[-1].append(index)
        else:
            parts.append([index])
    return ",".join(f"{p[0]}-{p[-1]}" if len(p) > 1 else str(p[0]) for p in parts)


@given(st.sets(st.integers(0, 4_000_000), min_size=1, max_size=40), st.integers(0, 50))
def test_a_range_holds_exactly_its_indices(indices, limit):
    ordered = sorted(indices)
    text = as_slurm_writes(ordered) + (f"%{limit}" if limit else "")

    assert list(parse_indices(text)) == ordered
    assert list(parse_indices(f"[{text}]")) == ordered


@given(st.integers(0, 10_000), st.integers(0, 1000), st.integers(1, 50))
def test_a_range_with_a_step_ends_at_or_before_its_end(first, length, step):
    indices = list(parse_indices(f"{first}-{first + length}:{step}"))

    assert indices == list(range(first, first + length + 1, step))


@given(st.text(alphabet="0123456789-,:%[].N/A ", max_size=12))
def test_any_other_text_is_a_value_error(text):
    try:
        indices = list(parse_indices(text[:8]))
    except ValueError:
        return

    assert indices == [None] or all(isinstance(index, int) for index in indices)


@given(st.integers(0, 10**7))
def test_durations_are_seconds(seconds):
    days, rest = divmod(seconds, 86400)
    clock = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"

    assert parse_duration_s(f"{days}-{clock}") == seconds
    if seconds < 86400:
        assert parse_duration_s(clock) == seconds


def test_a_duration_that_no_clock_can_show_is_none():
    assert parse_duration_s("9" * 400 + "-00:00:00") is None


def test_a_hundred_thousand_pending_tasks_are_read_at_once():
    start = time.process_time()
    tasks = parse_squeue("9|0-99999%100|9|PENDING|0||0:00|0|Priority|\n")

    assert len(tasks) == 100_000
    assert time.process_time() - start < 5  # 0.3 s here; generous for CI


CHANGED = st.tuples(
    st.integers(0, 2_000),
    st.integers(0, 30),
    st.sampled_from(["", "|", "\0", "\n", "9" * 400, "-1", "[", "1-", "N/A", "٣", "²", "x" * 3_000])
    | st.text(max_size=5),
)


@pytest.mark.parametrize(
    ("parse", "text"), [(parse_squeue, SQUEUE_22_05), (parse_sacct, SACCT_22_05)]
)
@given(changes=st.lists(CHANGED, min_size=1, max_size=3))
def test_what_slurm_prints_is_read_or_refused_whatever_has_become_of_it(parse, text, changes):
    for start, length, new in changes:
        text = text[:start] + new + text[start + length :]

    with contextlib.suppress(ValueError):
        for task in parse(text):
            assert task.name
            assert cause_of(task) is None or isinstance(cause_of(task), str)
