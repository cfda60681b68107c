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
        "Timer 'load' is already running in this thread: stop() it first, or use `with timer:`, "
        "which can be nested",
    ),
    "pause without start": (
        lambda: Timer("load").pause(),
        TimerError,
        "nothing to pause(): start() it first",
    ),
    "pause twice": (
        lambda: paused(Timer("load")).pause(),
        TimerError,
        "Timer 'load' is already paused: resume() it first",
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
    "the last block before there is one": (
        lambda: Timer("load").last,
        TimerError,
        "Timer 'load' has timed no block yet: use `with timer:`",
    ),
    "an unknown mode": (
        lambda: Timer("load", cuda="event"),
        ValueError,
        "Timer 'load': cuda must be one of 'off', 'events', 'sync', got 'event'. "
        "Did you mean 'events'?",
    ),
    "off as YAML reads it": (
        lambda: Timers(cuda=False),
        ValueError,
        "got False. YAML reads off as false unless it is quoted.",
    ),
    "a name that is not a string": (
        lambda: Timer(3),
        ValueError,
        "a timer's name must be a non-empty string, got 3",
    ),
    "an empty name": (lambda: Timer(" "), ValueError, "non-empty string, got ' '"),
    "a path that ends in a slash": (
        lambda: Timers()("epoch/"),
        ValueError,
        "a timer's name must be a string such as 'load' or 'epoch/load', got 'epoch/'",
    ),
    "a path with nothing between slashes": (
        lambda: Timers()("epoch//load"),
        ValueError,
        "got 'epoch//load'",
    ),
    "a list of names": (lambda: Timers()(["epoch"]), ValueError, "got ['epoch']"),
    "a timer that does not exist": (
        lambda: Timers()["load"],
        KeyError,
        "no timer 'load'. Known: none. `with timers('load'):` creates one.",
    ),
    "a generator function": (
        lambda: Timer("load")(generator),
        TypeError,
        "Timer 'load' cannot time the generator function generator: calling it runs none of its "
        "code.",
    ),
    "an object whose call makes a generator": (
        lambda: Timer("load")(Generating()),
        TypeError,
        "Timer 'load' cannot time the generator function <Generating>",
    ),
    "a partial of a generator function": (
        lambda: Timer("load")(partial(generator)),
        TypeError,
        "Timer 'load' cannot time the generator function functools.partial(<function generator",
    ),
    "an async generator function": (
        lambda: Timers()("load")(async_generator),
        TypeError,
        "Timer 'load' cannot time the generator function async_generator",
    ),
    "something that is not a function": (
        lambda: Timer("load")(3),
        TypeError,
        "Timer 'load' can only decorate functions, got 3",
    ),
    "an unknown suffix": (
        lambda: Timer("load").save("timer.txt"),
        ValueError,
        "timer.txt: a timer file ends in .yaml, .yml, .json, .csv, not in '.txt'",
    ),
}


@pytest.mark.parametrize("case", MISUSE)
def test_an_error_after_misuse_names_the_timer_and_the_remedy(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    misuse, kind, text = MISUSE[case]

    with pytest.raises(kind) as raised:
        misuse()

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
    "a truncated file": (".json", '{"epoch": {', "cannot be read as a timer file"),
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
    "a count that is a string": (
        ".json",
        json.dumps({"epoch": {"attempts": [ATTEMPT, ATTEMPT | {"count": "many"}]}}),
        "'epoch', attempt 2: 'count' must be a finite number, got 'many'",
    ),
    "a deviation that is not a number": (
        ".json",
        json.dumps({"epoch": {"attempts": [ATTEMPT | {"std_s": math.nan}]}}),
        "'epoch', attempt 1: 'std_s' must be a finite number, got nan",
    ),
    "an infinite count": (
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
    "an attempt that is not a mapping": (
        ".json",
        json.dumps({"epoch": {"attempts": [3]}}),
        "'epoch', attempt 1: expected a mapping, got 3",
    ),
    "a table of another kind": (
        ".csv",
        "run_name,loss\na,1\n",
        "cannot be read as a timer file: its first line must be name,id,count,total_s",
    ),
    "a cell that is not a number": (
        ".csv",
        "name,id,count,total_s,mean_s,std_s,min_s,max_s,p50_s,p95_s\nepoch,a,1,x,1,1,1,1,1,1\n",
        "could not convert string to float: 'x'",
    ),
    "invalid YAML": (".yaml", "epoch: [1", "cannot be read as a timer file"),
}


@pytest.mark.parametrize("case", FILES)
def test_a_file_that_is_not_a_timer_file_is_refused_and_left_unchanged(case, tmp_path, clock):
    suffix, content, text = FILES[case]
    if suffix == ".yaml":
        pytest.importorskip("yaml")
    path = tmp_path / f"file{suffix}"
    content = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(content)
    timer = Timer("epoch", clock=clock)
    with timer:
        clock.sleep(1)

    for use in (Timer.load, timer.save, Timers.load):
        with pytest.raises(ValueError, match=r"file\.") as raised:
            use(path)
        assert text in str(raised.value)

    assert path.read_bytes() == content
    assert timer.seconds == 1


def test_an_error_for_a_timer_that_is_not_in_the_file_names_the_near_match(tmp_path, clock):
    path = tmp_path / "timer.json"
    for name in ("epoch", "load"):
        Timer(name).save(path)

    with pytest.raises(KeyError, match=r"has no timer 'epochs'\. Did you mean 'epoch'\? Known: ep"):
        Timer.load(path, "epochs")
    with pytest.raises(ValueError, match=r"holds 2 timers: epoch, load\. Name one of them\."):
        Timer.load(path)
    with pytest.raises(FileNotFoundError):
        Timer.load(tmp_path / "nothing.json")
