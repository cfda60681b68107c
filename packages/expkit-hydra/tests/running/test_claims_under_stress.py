"""Sweeps, resumes and cleanups of the same runs at once, killed at any moment."""

import json
import shutil
import subprocess
import sys
from collections import defaultdict

import pytest

from expkit_bookkeeping import find_runs
from expkit_bookkeeping.reading import removed_runs

PROCESSES = 3
# Each process forks children, one after another; a child acts until a timer kills it.
WORKER = """
import fcntl, json, os, random, signal, sys, traceback
from dataclasses import replace
from pathlib import Path
from hydra import version
from expkit_bookkeeping import RunClaimed, find_runs
from expkit_bookkeeping.launching import claim_run, completed_since
from expkit_bookkeeping.reading import find_run
from expkit_hydra import cleanup
from expkit_hydra.launching import execute_run, hydra_context, open_grid, run_version

experiment, events = Path(sys.argv[1]), sys.argv[2]
seed, children = map(int, sys.argv[3:])
version.setbase("1.3")
grid = open_grid(experiment)

def say(kind, **facts):
    file = os.open(events, os.O_WRONLY | os.O_APPEND)
    os.write(file, (json.dumps({"kind": kind, **facts}) + "\\n").encode())
    os.close(file)

class Failed(Exception):
    pass

def train(run):
    record = find_run(run.folder)
    with open(f"{events}.{run.index}", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("error", text=f"two processes train {run.run_name}")
        say("start", id=record.id, attempt=record.attempt, pid=os.getpid())
        if random.random() < 0.8:
            raise Failed

def resume(run, judged):
    claim = claim_run(run.folder, config_hash=run.config_hash, unless=completed_since(judged))
    try:
        train(run)
    except Failed as error:
        claim.finish("failed", error)
    else:
        claim.finish("completed")
        say("completed", id=claim.record.id, attempt=claim.attempt)

def sweep(run, known):
    seen = replace(grid, known={run.index: frozenset(map(run_version, known))})
    task = lambda config: train(run)
    outcome = execute_run(seen, run, task_function=task, hydra_context=hydra_context(grid, run))
    if outcome.state == "completed":
        record = find_run(run.folder)
        say("completed", id=record.id, attempt=record.attempt)
    elif outcome.error is not None and not isinstance(outcome.error, Failed):
        raise outcome.error

def is_completed(record):
    return record is not None and record.state == "completed"

def act(known):
    # What was known an act ago, and what is known now.
    now = {record.run_name: record for record in find_runs(experiment)}
    unfinished = [run for run in grid.runs if not is_completed(now.get(run.run_name))]
    run = random.choice(unfinished[:3] or grid.runs)
    before = known.get(run.run_name)
    choice = random.random()
    if choice < 0.3:
        cleanup(experiment, dry_run=False, purge=choice < 0.1)
    elif choice < 0.6 and not is_completed(now.get(run.run_name)):
        resume(run, now.get(run.run_name))
    elif not is_completed(before):
        sweep(run, [] if before is None else [before])
    return now

def child():
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, random.uniform(0.1, 3.0))
    known = {}
    for _ in range(20):
        say("act")
        try:
            known = act(known)
        except RunClaimed:
            pass
        except BaseException:
            say("error", text=traceback.format_exc())

hydra_context(grid, grid.runs[0])  # imports
for number in range(children):
    process = os.fork()
    if not process:
        random.seed(f"{seed} {number}")
        child()
        os._exit(0)
    os.waitpid(process, 0)
"""


@pytest.mark.faults("a completed run is never moved, trained again or counted as an attempt")
def test_no_completed_run_is_moved_or_trained_again_however_many_act_at_once(app, campaign):
    rounds = len(campaign.rounds(1))
    seeds = ",".join(map(str, range(10 * rounds)))
    app.sweep("model=cnn", "optimizer.lr=0.1", f"seed={seeds}")
    shutil.rmtree(app.experiment / "training")
    events = app.folder / "events.jsonl"
    events.touch()

    command = [sys.executable, "-c", WORKER, app.experiment, events]
    workers = [
        subprocess.Popen([*command, str(campaign.seed + number), str(4 * rounds)])
        for number in range(PROCESSES)
    ]
    assert [worker.wait() for worker in workers] == [0] * PROCESSES

    said = defaultdict(list)
    for line in events.read_text().splitlines():
        event = json.loads(line)
        said[event["kind"]].append(event)
    campaign.tried = len(said["act"])
    assert [event["text"] for event in said["error"]] == []
    completed = {event["id"]: event["attempt"] for event in said["completed"]}
    print({kind: len(events) for kind, events in said.items()})
    assert len(completed) == len(said["completed"])
    owners = {(event["id"], event["attempt"]): event["pid"] for event in said["start"]}
    for event in said["start"]:  # a process may go on with its own attempt
        assert owners[event["id"], event["attempt"]] == event["pid"]
        assert event["attempt"] <= completed.get(event["id"], event["attempt"])
    present = {record.id: record for record in find_runs(app.experiment)}
    for run_id, attempt in completed.items():
        record = present[run_id]
        assert (record.state, record.attempt) == ("completed", attempt)
    assert not completed.keys() & {run.id for run in removed_runs(app.experiment)}
