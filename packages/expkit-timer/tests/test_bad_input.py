import json
import math
from functools import partial

import pytest

from expkit_timer import Timer, TimerError, Timers


def running(timer):
    timer.start()
    return timer


def paused(timer):
    timer.start()
    timer.pause()
    return timer


def generator():
    yield


class Generating:
    def __call__(self):
        yield

    def __repr__(self):
        return "<Generating>"


async def async_generator():
    yield


MISUSE = {
    "stop without start": (
        lambda: Timer("load").stop(),
        TimerError,
        "Timer 'load' is not running in this thread, so there is nothing to stop(): start() it "
        "first, or use `with timer:`",
    ),
    "start twice": (
        lambda: running(Timer("load")).start(),
        TimerError,
        "Timer 'load' is running in this thread already: stop() it first",
    ),
    "pause without start": (
        lambda: Timer("load").pause(),
        TimerError,
        "nothing to pause(): start() it first",
    ),
    "pause twice": (
        lambda: paused(Timer("load")).pause(),
        TimerError,
        "Timer 'load' is paused already: resume() it first",
    ),
    "resume without start": (
        lambda: Timer("load").resume(),
        TimerError,
        "nothing to resume()",
    ),
    "resume without pause": (
        lambda: running(Timer("load")).resume(),
        TimerError,
        "Timer 'load' is not paused: there is nothing to resume()",
    ),
    "the last of none": (
        lambda: Timer("load").last,
        TimerError,
        "Timer 'load' has timed no block yet: use `with timer:`",
    ),
    "a mode that is not there": (
        lambda: Timer("load", cuda="event"),
        ValueError,
        "Timer 'load': cuda must be one of 'off', 'events', 'sync', got 'event'. "
        "Did you mean 'events'?",
    ),
    "off as YAML reads it": (
        lambda: Timers(cuda=False),
        ValueError,
        "got False. YAML reads off as false unless it stands in quotes.",
    ),
    "a name that is no text": (
        lambda: Timer(3),
        ValueError,
        "a timer's name must be a text that is not empty, got 3",
    ),
    "an empty name": (lambda: Timer(" "), ValueError, "not empty, got ' '"),
    "a path with a slash at its end": (
        lambda: Timers()("epoch/"),
        ValueError,
        "a timer's name must be a text such as 'load' or 'epoch/load', got 'epoch/'",
    ),
    "a path with nothing between slashes": (
        lambda: Timers()("epoch//load"),
        ValueError,
        "got 'epoch//load'",
    ),
    "a list of names": (lambda: Timers()(["epoch"]), ValueError, "got ['epoch']"),
    "a timer that is not there": (
        lambda: Timers()["load"],
        KeyError,
        "no timer 'load' here. Known: none. `with timers('load'):` makes one.",
    ),
    "a generator function": (
        lambda: Timer("load")(generator),
        TypeError,
        "Timer 'load' cannot time the generator function generator: calling it does no work yet.",
    ),
    "an object whose call makes a generator": (
        lambda: Timer("load")(Generating()),
        TypeError,
        "Timer 'load' cannot time the generator function <Generating>",
    ),
    "a part of a generator function": (
        lambda: Timer("load")(partial(generator)),
        TypeError,
        "Timer 'load' cannot time the generator function functools.partial(<function generator",
    ),
    "an async generator function": (
        lambda: Timers()("load")(async_generator),
        TypeError,
        "Timer 'load' cannot time the generator function async_generator",
    ),
    "what is no function": (
        lambda: Timer("load")(3),
        TypeError,
        "Timer 'load' can decorate functions, got 3",
    ),
    "a suffix that is not there": (
        lambda: Timer("load").save("timer.txt"),
        ValueError,
        "timer.txt: a timer file ends in .yaml, .yml, .json, .csv, not in '.txt'",
    ),
}


@pytest.mark.parametrize("what", MISUSE)
def test_misuse_is_told_with_the_timer_and_the_cure(what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    act, kind, text = MISUSE[what]

    with pytest.raises(kind) as raised:
        act()

    assert text in str(raised.value)
    assert list(tmp_path.iterdir()) == []


ATTEMPT = {
    "id": "5f0c4e0d",
    "count": 1,
    "total_s": 1.0,
    "mean_s": 1.0,
    "std_s": 0.0,
    "min_s": 1.0,
    "max_s": 1.0,
    "p50_s": 1.0,
    "p95_s": 1.0,
}
FILES = {
    "a file that is torn": (".json", '{"epoch": {', "cannot be read as a timer file"),
    "a file of another kind": (
        ".json",
        '{"model": {"name": "cnn"}}',
        "is not a timer file: its entry 'model' has no list 'attempts'. Choose another path.",
    ),
    "a list": (".json", "[1, 2]", "is not a timer file: it holds list"),
    "an attempt without its total": (
        ".json",
        json.dumps({"epoch": {"attempts": [{k: v for k, v in ATTEMPT.items() if k != "total_s"}]}}),
        "'epoch', attempt 1: the key 'total_s' is missing",
    ),
    "a count that is a text": (
        ".json",
        json.dumps({"epoch": {"attempts": [ATTEMPT, ATTEMPT | {"count": "many"}]}}),
        "'epoch', attempt 2: 'count' must be a finite number, got 'many'",
    ),
    "a deviation that is not a number": (
        ".json",
        json.dumps({"epoch": {"attempts": [ATTEMPT | {"std_s": math.nan}]}}),
        "'epoch', attempt 1: 'std_s' must be a finite number, got nan",
    ),
    "a count without end": (
        ".json",
        json.dumps({"epoch": {"attempts": [ATTEMPT | {"count": math.inf}]}}),
        "'epoch', attempt 1: 'count' must be a finite number, got inf",
    ),
    "a file of bytes": (".json", b"\xff\xfe{}", "cannot be read as a timer file"),
    "a count below one": (
        ".json",
        json.dumps({"epoch": {"attempts": [ATTEMPT | {"count": 0}]}}),
        "'epoch', attempt 1: 'count' must be a positive whole number",
    ),
    "an attempt that is no mapping": (
        ".json",
        json.dumps({"epoch": {"attempts": [3]}}),
        "'epoch', attempt 1: expected a mapping, got 3",
    ),
    "a table of another kind": (
        ".csv",
        "run_name,loss\na,1\n",
        "cannot be read as a timer file: its first line must be name,id,count,total_s",
    ),
    "a cell that is no number": (
        ".csv",
        "name,id,count,total_s,mean_s,std_s,min_s,max_s,p50_s,p95_s\nepoch,a,1,x,1,1,1,1,1,1\n",
        "could not convert string to float: 'x'",
    ),
    "YAML that is none": (".yaml", "epoch: [1", "cannot be read as a timer file"),
}


@pytest.mark.parametrize("what", FILES)
def test_a_file_that_is_no_timer_file_is_refused_and_left_as_it_is(what, tmp_path, clock):
    suffix, content, text = FILES[what]
    if suffix == ".yaml":
        pytest.importorskip("yaml")
    path = tmp_path / f"file{suffix}"
    content = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(content)
    timer = Timer("epoch", clock=clock)
    with timer:
        clock.sleep(1)

    for act in (lambda: Timer.load(path), lambda: timer.save(path), lambda: Timers.load(path)):
        with pytest.raises(ValueError, match=r"file\.") as raised:
            act()
        assert text in str(raised.value)

    assert path.read_bytes() == content
    assert timer.seconds == 1


def test_a_timer_that_the_file_does_not_have_is_told_with_the_near_match(tmp_path, clock):
    path = tmp_path / "timer.json"
    for name in ("epoch", "load"):
        Timer(name).save(path)

    with pytest.raises(KeyError, match=r"has no timer 'epochs'\. Did you mean 'epoch'\? Known: ep"):
        Timer.load(path, "epochs")
    with pytest.raises(ValueError, match=r"has not one timer but these: epoch, load\. Give the"):
        Timer.load(path)
    with pytest.raises(FileNotFoundError):
        Timer.load(tmp_path / "nothing.json")
