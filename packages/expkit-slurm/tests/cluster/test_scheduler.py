import logging
import os
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from slurm_cluster import SlurmCluster

from expkit_slurm import SlurmError
from expkit_slurm._cluster.commands import MISSING, TIMED_OUT, CommandResult, run_command
from expkit_slurm._cluster.environment import clean_environment
from expkit_slurm._cluster.scheduler import (
    IDS_PER_SCANCEL,
    SUBMIT_ATTEMPTS,
    Scheduler,
    SubmitRefused,
)
from expkit_slurm._cluster.tasks import Phase, Task, cause_of, phase_of

# What 22.05.8 says; the controller was stopped, or the limits set, for these.
NO_CONTROLLER = "Unable to contact slurm controller (connect failure)"
VIOLATES = (
    "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy "
    "(job submit limit, user's size and/or time limits)"
)
FULL = "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying\n"
ROW = "{array}|{task}|{job}|RUNNING|0|n1|0:01|0|None|\n"


class Fake:
    """Answers each program with the next of its answers, the last one again and again."""

    def __init__(self, **answers: CommandResult | list[CommandResult]) -> None:
        self.answers = {
            name: list(results) if isinstance(results, list) else [results]
            for name, results in answers.items()
        }
        self.calls: list[list[str]] = []
        self.environments: list[dict[str, str]] = []
        self.pauses: list[float] = []

    def __call__(self, argv, limit_s, environ):
        self.calls.append(list(argv))
        self.environments.append(dict(environ))
        left = self.answers[argv[0]]
        return left.pop(0) if len(left) > 1 else left[0]

    def scheduler(self, **environ: str) -> Scheduler:
        return Scheduler(self, environ=environ, sleep=self.pauses.append, random=lambda: 0.5)

    def ran(self, program: str) -> int:
        return sum(call[0] == program for call in self.calls)


def said(text: str, code: int = 1) -> CommandResult:
    return CommandResult(code, "", text)


def out(text: str = "") -> CommandResult:
    return CommandResult(0, text, "")


def refused(fake: Fake) -> SubmitRefused:
    with pytest.raises(SubmitRefused) as caught:
        fake.scheduler().submit(["job.sh"], name="digits-1", directory=Path("/"))
    return caught.value


# What cannot happen on demand.


@pytest.mark.parametrize("printed", ["12\n", "12;gpu\n", "Welcome to the cluster!\n12\n"])
def test_the_id_is_what_parsable_prints(printed):
    fake = Fake(sbatch=out(printed))

    job = fake.scheduler().submit(["--array=0-3", "job.sh"], name="digits-1", directory=Path("/d"))

    assert job == "12"
    assert fake.calls == [["sbatch", "--parsable", "--job-name=digits-1", "--array=0-3", "job.sh"]]
    assert fake.environments[0]["PWD"] == "/d"
    assert "LC_ALL" not in fake.environments[0]  # the job would inherit it


@pytest.mark.parametrize(
    "failure",
    [
        said("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"),
        said(f"sbatch: error: Batch job submission failed: {NO_CONTROLLER}"),
        said("sbatch: error: Slurm temporarily unable to accept job"),
        said("sbatch gave no answer within 60 s", TIMED_OUT),
    ],
)
def test_a_passing_failure_is_tried_again_after_longer_and_longer_pauses(failure):
    fake = Fake(sbatch=[failure, failure, failure, out("12\n")], squeue=out())

    assert fake.scheduler().submit(["job.sh"], name="digits-1", directory=Path("/")) == "12"
    assert fake.pauses == [2, 4, 8]


def test_nothing_is_submitted_again_while_nobody_says_whether_it_is_there():
    lost = said("sbatch gave no answer within 60 s", TIMED_OUT)
    fake = Fake(sbatch=lost, squeue=[said(NO_CONTROLLER), said(NO_CONTROLLER), out("12 digits-1")])

    assert fake.scheduler().submit(["job.sh"], name="digits-1", directory=Path("/")) == "12"
    assert fake.ran("sbatch") == 1


def test_the_last_attempt_too_may_have_been_accepted():
    lost = said("sbatch gave no answer within 60 s", TIMED_OUT)
    fake = Fake(sbatch=lost, squeue=[out()] * (SUBMIT_ATTEMPTS - 1) + [out("12 digits-1")])

    assert fake.scheduler().submit(["job.sh"], name="digits-1", directory=Path("/")) == "12"
    assert fake.ran("sbatch") == SUBMIT_ATTEMPTS


@pytest.mark.parametrize(
    "words",
    [
        said(
            "sbatch: error: resolve_ctls_from_dns_srv: res_nsearch error: Unknown host\n"
            "sbatch: error: fetch_config: DNS SRV lookup failed\n"
            "sbatch: error: _establish_config_source: failed to fetch config\n"
            "sbatch: fatal: Could not establish a configuration source"
        ),
        said(
            "sbatch: error: s_p_parse_file: cannot stat file /etc/slurm.conf: No such file or "
            "directory, retrying in 1sec up to 60sec\nsbatch gave no answer within 60 s",
            TIMED_OUT,
        ),
    ],
)
def test_without_a_configuration_there_is_no_controller_and_no_second_attempt(words):
    fake = Fake(sbatch=words)

    refusal = refused(fake)

    assert refusal.kind == "missing"
    assert "No Slurm controller was found" in str(refusal)
    assert "#SBATCH" not in str(refusal)
    assert fake.ran("sbatch") == 1


def test_a_controller_that_never_answers_is_unreachable():
    fake = Fake(sbatch=said(f"sbatch: error: {NO_CONTROLLER}"), squeue=said(NO_CONTROLLER))

    error = refused(fake)

    assert error.kind == "unreachable"
    assert NO_CONTROLLER in str(error)


@pytest.mark.parametrize(
    "reason",
    [
        "AssocMaxSubmitJobLimit",
        "AssocGrpSubmitJobsLimit",
        "QOSMaxSubmitJobPerUserLimit",
        "QOSGrpSubmitJobsLimit",
    ],
)
def test_a_submit_limit_is_a_limit_and_not_tried_again(reason):
    fake = Fake(sbatch=said(f"sbatch: error: {reason}\n{VIOLATES}"))

    error = refused(fake)

    assert error.kind == "limit"
    assert reason in str(error)
    assert fake.pauses == []


def test_a_violated_policy_without_a_name_is_a_limit():
    assert refused(Fake(sbatch=said(VIOLATES))).kind == "limit"


def test_more_than_a_qos_ever_gives_is_invalid():
    words = f"sbatch: error: QOSMaxWallDurationPerJobLimit\n{VIOLATES}"

    assert refused(Fake(sbatch=said(words))).kind == "invalid"


def test_a_full_cluster_is_a_limit_after_one_long_wait():
    fake = Fake(sbatch=said(FULL + "sbatch gave no answer within 60 s", TIMED_OUT), squeue=out())

    assert refused(fake).kind == "limit"
    assert fake.ran("sbatch") == 1


def test_without_sbatch_the_way_to_run_here_is_told():
    error = refused(Fake(sbatch=run_command(["no-such-sbatch"], 1, {})))

    assert error.kind == "missing"
    assert "hydra/launcher=expkit" in str(error)
    assert "no-such-sbatch: No such file or directory" in str(error)


def test_a_site_that_hides_the_id_is_asked_for_the_name():
    fake = Fake(sbatch=out("Submitted. Have fun!\n"), squeue=out("12 digits-1"))

    assert fake.scheduler().submit(["job.sh"], name="digits-1", directory=Path("/")) == "12"


def test_a_command_has_a_time_limit():
    start = time.monotonic()
    answer = run_command(["sh", "-c", "echo early >&2; exec sleep 60"], 0.3, dict(os.environ))

    assert answer == CommandResult(TIMED_OUT, "", "early\nsh gave no answer within 0.3 s")
    assert time.monotonic() - start < 30


def test_a_command_runs_in_the_directory_that_its_environment_names(tmp_path):
    environ = {**os.environ, "PWD": str(tmp_path)}

    assert run_command(["pwd"], 10, environ).out.strip() == str(tmp_path)
    gone = run_command(["pwd"], 10, {**environ, "PWD": str(tmp_path / "gone")})
    assert gone.code not in (0, MISSING)


def test_an_unnamed_user_is_asked_about_without_his_name():
    # squeue says so with exit code 0, and lists nothing.
    unknown = CommandResult(0, "", "squeue: error: Invalid user: 4711\n")
    fake = Fake(squeue=[unknown, out("12 digits-1")])

    assert fake.scheduler().find_job("digits-1") == "12"


def test_jobs_of_a_colleague_are_found_and_what_is_gone_is_looked_for_once():
    mine, other = ROW.format(array=1, task=0, job=1), ROW.format(array=2, task=0, job=2)
    fake = Fake(squeue=[out(mine), out(), out(mine), out(mine), out(other), out(mine + other)])
    scheduler = fake.scheduler()

    def names(*jobs: str) -> list[str]:
        return [task.name for task in scheduler.queue(jobs) or []]

    assert names("1", "3") == ["1_0"]
    assert names("1", "3") == ["1_0"]
    assert names("1", "2", "3") == ["1_0", "2_0"]
    assert names("1", "2") == ["1_0", "2_0"]
    users = [any(part.startswith("--user=") for part in call) for call in fake.calls]
    assert users == [True, False, True, True, False, False]


@pytest.mark.parametrize(
    "answer",
    [
        said(f"slurm_load_jobs error: {NO_CONTROLLER}"),
        said("squeue gave no answer within 30 s", TIMED_OUT),
        said("squeue: No such file or directory", MISSING),
        out("a line that nobody expected\n"),
    ],
)
def test_without_an_answer_no_task_is_called_gone(answer):
    scheduler = Fake(squeue=answer).scheduler()

    assert scheduler.queue(["1"]) is None
    assert scheduler.queue(["1", "2"]) is None


def test_queries_are_in_c_and_with_whole_ranges():
    fake = Fake(squeue=out())
    fake.scheduler(SLURM_BITSTR_LEN="64", LC_ALL="de_DE.UTF-8", PWD="/gone").queue(["1"])

    assert fake.environments == [{"SLURM_BITSTR_LEN": "0", "LC_ALL": "C"}]


def test_no_jobs_are_no_question():
    fake = Fake()

    assert fake.scheduler().queue([]) == fake.scheduler().accounting([]) == []
    fake.scheduler().cancel([])
    assert fake.calls == []


def test_an_accounting_that_fails_is_asked_again():
    fake = Fake(sacct=[said("sacct: error: Connection refused"), out("1_0|2|COMPLETED|0:0|n1|3\n")])
    scheduler = fake.scheduler()

    assert scheduler.accounting(["1"]) is None
    assert scheduler.accounting(["1"]) == [Task("1", 0, "2", "COMPLETED", None, "n1", 0, None, 3.0)]


def test_many_jobs_are_cancelled_in_portions():
    fake = Fake(scancel=out())
    fake.scheduler().cancel([str(number) for number in range(IDS_PER_SCANCEL + 1)])

    assert [len(call) - 1 for call in fake.calls] == [IDS_PER_SCANCEL, 1]


def test_cancelling_what_is_not_ones_own_is_an_error_that_what_is_gone_does_not_hide():
    words = (
        "scancel: error: Kill job error on job id 1: Invalid job id specified\n"
        "scancel: error: Kill job error on job id 2: Access/permission denied\n"
    )

    with pytest.raises(SlurmError, match="job id 2: Access/permission denied"):
        Fake(scancel=said(words, 210)).scheduler().cancel(["1", "2"])


def test_the_largest_array_is_slurms_default_where_nobody_answers():
    assert Fake(scontrol=said(NO_CONTROLLER)).scheduler().max_array_size() == 1001


@pytest.mark.parametrize(
    ("limit", "left"),
    [("UNLIMITED", "UNLIMITED"), ("NOT_SET", "NOT_SET"), ("365-00:00:00", "364-23:57:27")],
)
def test_no_limit_is_no_number(limit, left):
    assert Fake(squeue=out(f"12 12_N/A {limit} {left}\n")).scheduler().time_left_s("12") is None


def test_the_time_left_is_of_this_task_and_not_of_its_array():
    # The last task of an array has the array's own id.
    lines = "14 12_0 9:00 5:00\n12 12_1 2-00:00:00 1-00:00:07\n"

    assert Fake(squeue=out(lines)).scheduler().time_left_s("12") == 86407
    assert Fake(squeue=out(lines)).scheduler().time_left_s("12_0") == 300


def test_jobs_inherit_nothing_of_the_job_the_rank_or_the_run_they_are_submitted_from():
    kept = {
        **{"HOME": "/home/me", "PATH": "/bin", "SLURM_CONF": "/etc/slurm.conf"},
        **{"SLURM_CLUSTERS": "gpu", "SBATCH_ACCOUNT": "lab", "MLFLOW_TRACKING_URI": "http://m"},
        **{"RANKED": "1", "NCCL_DEBUG": "INFO"},
    }
    dropped = (
        "SLURM_JOB_ID SLURM_NTASKS SLURM_TIME_FORMAT SBATCH_ARRAY_INX SBATCH_TIMELIMIT SALLOC_X "
        "SRUN_DEBUG PMI_RANK PMIX_RANK RANK WORLD_SIZE LOCAL_RANK LOCAL_WORLD_SIZE GROUP_RANK "
        "MASTER_ADDR MASTER_PORT TORCHELASTIC_RUN_ID MLFLOW_RUN_ID MLFLOW_EXPERIMENT_ID "
        "MLFLOW_EXPERIMENT_NAME EXPKIT_GRID EXPKIT_RUN SQUEUE_STATES SCANCEL_STATE "
        "CUDA_VISIBLE_DEVICES"
    )

    assert clean_environment({**kept, **dict.fromkeys(dropped.split(), "1")}) == kept


def test_gpus_that_the_user_chose_outside_of_a_job_stay():
    assert clean_environment({"CUDA_VISIBLE_DEVICES": "1"}) == {"CUDA_VISIBLE_DEVICES": "1"}


# What a real Slurm does.

SLEEP = ["--output=/dev/null", "--wrap=exec sleep 120"]


def scheduler_of(cluster: SlurmCluster, **environ: str) -> Scheduler:
    return Scheduler(environ={**os.environ, **cluster.environment, **environ})


def until(look: Callable[[], object], cluster: SlurmCluster) -> None:
    cluster.wait_for(look, "change in the queue")


def states(scheduler: Scheduler, jobs: Sequence[str]) -> dict[str, str]:
    return {task.name: task.state for task in scheduler.queue(jobs) or []}


def test_a_job_starts_where_it_was_told_with_an_environment_of_its_own(cluster, tmp_path):
    (tmp_path / "job.sh").write_text('#!/bin/bash\npwd\necho "$SLURM_SUBMIT_DIR"\nenv\n')
    scheduler = scheduler_of(
        cluster, RANK="7", SLURM_ARRAY_TASK_ID="8", MLFLOW_RUN_ID="9", GREETING="hello"
    )
    job = scheduler.submit(["--output=job.log", "job.sh"], name=tmp_path.name, directory=tmp_path)
    until(lambda: states(scheduler, [job])[job] == "COMPLETED", cluster)

    lines = (tmp_path / "job.log").read_text().splitlines()
    assert lines[:2] == [str(tmp_path), str(tmp_path)]
    assert "GREETING=hello" in lines
    assert f"SLURM_JOB_NAME={tmp_path.name}" in lines
    assert not {line.partition("=")[0] for line in lines} & {
        *("RANK", "SLURM_ARRAY_TASK_ID", "MLFLOW_RUN_ID", "LC_ALL") - os.environ.keys()
    }


def test_a_job_is_found_by_its_whole_name_until_slurm_forgets_it(cluster, tmp_path):
    scheduler = scheduler_of(cluster)
    job = scheduler.submit(SLEEP, name=tmp_path.name, directory=tmp_path)
    array = scheduler.submit(
        ["--array=0-9%1", *SLEEP], name=f"{tmp_path.name}1", directory=tmp_path
    )

    assert scheduler.find_job(tmp_path.name) == job
    assert scheduler.find_job(f"{tmp_path.name}1") == array
    assert scheduler.find_job(tmp_path.name[:-1]) is None
    scheduler.cancel([job])
    until(lambda: phase_of(states(scheduler, [job])[job]) is Phase.OVER, cluster)
    assert scheduler.find_job(tmp_path.name) == job


def test_what_was_accepted_although_it_timed_out_is_not_submitted_twice(cluster, tmp_path):
    lost: list[CommandResult] = []

    def run(argv, limit_s, environ):
        answer = run_command(argv, limit_s, environ)
        if argv[0] != "sbatch":
            return answer
        lost.append(answer)
        return CommandResult(TIMED_OUT, "", "sbatch gave no answer within 60 s")

    environ = {**os.environ, **cluster.environment}
    scheduler = Scheduler(run, environ=environ, sleep=lambda _: None)
    job = scheduler.submit(SLEEP, name=tmp_path.name, directory=tmp_path)

    assert [answer.out.strip() for answer in lost] == [job]
    assert len(cluster.jobs()) == 1


def test_a_controller_that_comes_back_gets_the_job_once(cluster, tmp_path):
    cluster.stop_controller()
    scheduler = Scheduler(
        environ={**os.environ, **cluster.environment},
        sleep=lambda _: cluster.start_controller(),
    )
    job = scheduler.submit(SLEEP, name=tmp_path.name, directory=tmp_path)

    assert [str(queued.id) for queued in cluster.jobs()] == [job]


def test_without_a_controller_the_queue_is_not_empty_but_unknown(cluster, tmp_path):
    scheduler = scheduler_of(cluster)
    job = scheduler.submit(["--array=0-1", *SLEEP], name=tmp_path.name, directory=tmp_path)
    cluster.stop_controller()

    assert scheduler.queue([job, "999"]) is None
    cluster.start_controller()
    assert len(scheduler.queue([job]) or []) == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--array=0-51"], "Invalid job array specification"),
        (["--partition=hihg"], "Did you mean high? Partitions: high, low."),
        (["--mem=900G"], "Memory specification can not be satisfied"),
        (["--nonsense"], "unrecognized option '--nonsense'"),
        (["--time=never"], "Invalid --time specification"),
    ],
)
def test_what_slurm_never_accepts_is_invalid(cluster, tmp_path, options, words):
    with pytest.raises(SubmitRefused, match=re.escape(words)) as caught:
        scheduler_of(cluster).submit([*options, *SLEEP], name=tmp_path.name, directory=tmp_path)

    assert caught.value.kind == "invalid"


ENDS = """#!/bin/bash
case $SLURM_ARRAY_TASK_ID in
0) exit 0 ;;
1) exit 7 ;;
2) kill -9 $$ ;;
*) exec sleep 120 ;;
esac
"""


def test_the_queue_tells_how_tasks_ended_without_accounting(cluster, tmp_path):
    scheduler = scheduler_of(cluster)
    (tmp_path / "ends.sh").write_text(ENDS)
    arguments = ["--array=0-13%6", "--output=/dev/null", "ends.sh"]
    array = scheduler.submit(arguments, name=tmp_path.name, directory=tmp_path)
    no_log = scheduler.submit(
        ["--output=/nonexistent/log", "--wrap=true"], name=f"{tmp_path.name}-2", directory=tmp_path
    )

    def look() -> dict[str, Task]:
        return {task.name: task for task in scheduler.queue([array, no_log, "999"]) or []}

    def settled() -> bool:
        phases = [phase_of(task.state) for task in look().values()]
        return phases.count(Phase.OVER) == 4 and phases.count(Phase.ACTIVE) == 6

    until(settled, cluster)
    tasks = look()

    assert len(tasks) == 15
    assert (tasks[f"{array}_0"].state, tasks[f"{array}_0"].exit_code) == ("COMPLETED", 0)
    assert cause_of(tasks[f"{array}_1"]) == "exit code 7"
    assert cause_of(tasks[f"{array}_2"]) == "killed by SIGKILL"
    assert "its log file could not be opened" in str(cause_of(tasks[no_log]))
    assert tasks[f"{array}_3"].node in ("node1", "node2", "node3", "node4")
    assert tasks[f"{array}_13"].state == "PENDING"
    assert tasks[f"{array}_13"].job_id == array


def test_jobs_that_are_gone_are_absent_and_hide_no_others(cluster, tmp_path):
    scheduler = scheduler_of(cluster)
    job = scheduler.submit(SLEEP, name=tmp_path.name, directory=tmp_path)

    assert scheduler.queue(["999999"]) == []
    assert scheduler.queue(["999998", "999999"]) == []
    assert [task.name for task in scheduler.queue([job, "999999"]) or []] == [job]
    assert scheduler_of(cluster, SQUEUE_STATES="CANCELLED").queue([job]) != []


def test_cancelling_leaves_the_others_and_does_not_mind_what_is_gone(cluster, tmp_path):
    scheduler = scheduler_of(cluster)
    array = scheduler.submit(["--array=0-3%1", *SLEEP], name=tmp_path.name, directory=tmp_path)
    scheduler.cancel([f"{array}_1", f"{array}_[2-3]", "999999", f"{array}_9"])
    scheduler.cancel([f"{array}_1", "999999"])

    # Of array tasks that had not started nothing remains.
    until(lambda: list(states(scheduler, [array])) == [f"{array}_0"], cluster)
    until(lambda: states(scheduler, [array])[f"{array}_0"] == "RUNNING", cluster)
    scheduler.cancel([array])
    until(lambda: states(scheduler, [array])[f"{array}_0"] == "CANCELLED", cluster)
    assert [cause_of(task) for task in scheduler.queue([array]) or []] == ["cancelled"]


def test_a_requeued_task_waits_and_runs_again(cluster, tmp_path):
    scheduler = scheduler_of(cluster)
    array = scheduler.submit(
        ["--requeue", "--array=0-1", *SLEEP], name=tmp_path.name, directory=tmp_path
    )
    task = f"{array}_0"
    until(lambda: states(scheduler, [array]).get(task) == "RUNNING", cluster)
    scheduler.requeue(task)
    until(lambda: states(scheduler, [array])[task] == "RUNNING", cluster)

    restarts = {task.name: task.restarts for task in scheduler.queue([array]) or []}
    assert restarts == {task: 1, f"{array}_1": 0}


def test_slurm_says_why_it_does_not_requeue(cluster):
    with pytest.raises(SlurmError, match="job 999999: Invalid job id specified"):
        scheduler_of(cluster).requeue("999999")


def test_the_time_left_is_what_the_controller_says(cluster, tmp_path):
    scheduler = scheduler_of(cluster)
    job = scheduler.submit(["--time=5", *SLEEP], name=tmp_path.name, directory=tmp_path)
    endless = scheduler.submit(SLEEP, name=f"{tmp_path.name}-2", directory=tmp_path)
    array = scheduler.submit(
        ["--array=0-1", "--time=9", *SLEEP], name=f"{tmp_path.name}-3", directory=tmp_path
    )
    until(lambda: set(states(scheduler, [job, endless, array]).values()) == {"RUNNING"}, cluster)

    assert 240 < (scheduler.time_left_s(job) or 0) <= 300
    assert scheduler.time_left_s(endless) is None
    assert scheduler.time_left_s("999999") is None
    assert 480 < (scheduler.time_left_s(array) or 0) <= 540
    cluster.run("scontrol", "update", f"JobId={job}", "TimeLimit=20")
    assert (scheduler.time_left_s(job) or 0) > 600


def test_the_largest_array_is_the_clusters(cluster):
    assert scheduler_of(cluster).max_array_size() == 51


def test_where_accounting_is_off_it_is_asked_once_and_said_once(cluster, caplog):
    asked: list[str] = []

    def run(argv, limit_s, environ):
        asked.append(argv[0])
        return run_command(argv, limit_s, environ)

    scheduler = Scheduler(run, environ={**os.environ, **cluster.environment})
    with caplog.at_level(logging.INFO):
        assert scheduler.accounting(["1"]) is None
        assert scheduler.accounting(["1"]) is None

    assert asked == ["sacct"]
    assert [record.getMessage() for record in caplog.records] == [
        "No accounting on this cluster (Slurm accounting storage is disabled): "
        "the queue is believed."
    ]


def test_the_accounting_tells_how_tasks_ended(accounting_cluster, tmp_path):
    cluster = accounting_cluster
    scheduler = scheduler_of(cluster)
    (tmp_path / "ends.sh").write_text(ENDS)
    arguments = ["--array=0-20:2%3", "--output=/dev/null", "ends.sh"]
    array = scheduler.submit(arguments, name=tmp_path.name, directory=tmp_path)

    def look() -> dict[str, Task]:
        return {task.name: task for task in scheduler.accounting([array, "999999"]) or []}

    def settled() -> bool:
        task_states = [task.state for task in look().values()]
        return task_states.count("RUNNING") == 3 and {"COMPLETED", "FAILED"} < set(task_states)

    until(settled, cluster)
    tasks = look()
    assert set(tasks) == {f"{array}_{index}" for index in range(0, 21, 2)}
    assert cause_of(tasks[f"{array}_2"]) == "killed by SIGKILL"

    scheduler.cancel([array])
    until(lambda: {phase_of(task.state) for task in look().values()} == {Phase.OVER}, cluster)
    assert cause_of(look()[f"{array}_20"]) == f"cancelled by uid {os.getuid()}"
