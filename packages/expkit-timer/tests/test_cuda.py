import subprocess
import sys
import time
from types import SimpleNamespace
from weakref import WeakSet

import pytest

from expkit_timer import Timer, Timers

EVENTS = 2 * 256  # two for each of the blocks that may be unread


class Stream:
    """A CUDA stream whose work is done when a test says so."""

    def __init__(self):
        self.queued_ms = 0.0
        self.done_ms = 0.0
        self.waits = 0
        self.events = WeakSet()

    def work(self, milliseconds):
        self.queued_ms += milliseconds

    def run(self, milliseconds=float("inf")):
        self.done_ms = min(self.done_ms + milliseconds, self.queued_ms)

    def event(self, enable_timing):
        assert enable_timing
        event = Event(self)
        self.events.add(event)
        return event


class Event:
    def __init__(self, stream):
        self.stream, self.at_ms = stream, None

    def record(self):
        self.at_ms = self.stream.queued_ms

    def query(self):
        return self.at_ms <= self.stream.done_ms

    def synchronize(self):
        if not self.query():
            self.stream.waits += 1
            self.stream.done_ms = self.at_ms

    def elapsed_time(self, end):
        assert end.query()
        return end.at_ms - self.at_ms


@pytest.fixture
def stream():
    return Stream()


@pytest.fixture
def timer(stream, monkeypatch):
    """A timer with cuda="events" on a GPU that can be held up, which a real one cannot."""
    cuda = SimpleNamespace(is_available=lambda: True, Event=stream.event)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    return Timer("step", cuda="events")


def test_the_loop_never_waits_while_the_gpu_keeps_up(timer, stream):
    for _ in range(1000):
        with timer:
            stream.work(2)
        stream.work(1)
        stream.run()

    assert stream.waits == 0
    assert timer.seconds == pytest.approx(2.0)
    assert timer.count == 1000


def test_reading_waits_for_work_that_is_still_running(timer, stream):
    with timer:
        stream.work(5)

    assert stream.waits == 0
    assert timer.last == pytest.approx(0.005)
    assert stream.waits == 1


def test_a_gpu_that_lags_bounds_the_events_in_use(timer, stream):
    for _ in range(2000):
        with timer:
            stream.work(1)

    assert len(stream.events) <= EVENTS
    assert timer.count == 2000
    assert timer.seconds == pytest.approx(2.0)
    assert stream.waits <= 2000


def test_pauses_and_nested_blocks_add_up_on_the_gpu(timer, stream):
    with timer:
        stream.work(1)
        timer.pause()
        stream.work(100)
        timer.resume()
        with timer:
            stream.work(2)
        timer.pause()
        stream.work(100)

    assert timer.seconds == pytest.approx(0.003)
    assert timer.count == 1


@pytest.mark.parametrize("mode", ["events", "sync"])
def test_without_torch_the_error_names_the_remedy(mode, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)

    with pytest.raises(ImportError, match=rf"Timer 'step': cuda='{mode}' needs PyTorch.*'off'"):
        Timer("step", cuda=mode)


@pytest.mark.parametrize("make", [lambda mode: Timer("step", cuda=mode), lambda m: Timers(cuda=m)])
@pytest.mark.parametrize("mode", ["events", "sync"])
def test_without_a_gpu_the_error_names_the_remedy(make, mode, torch):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")

    with pytest.raises(RuntimeError, match=r"needs a CUDA device.* else 'off'"):
        make(mode)


def test_off_does_not_import_torch():
    code = (
        "import sys; from expkit_timer import Timer\nwith Timer(): pass\n"
        "assert 'torch' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture
def cuda(torch):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return torch


def _busy(torch, matrix):
    for _ in range(30):
        matrix = matrix @ matrix
        matrix = matrix / matrix.norm()
    return matrix


@pytest.mark.gpu
def test_events_and_sync_agree_and_off_sees_only_the_launch(cuda):
    matrix = cuda.randn(4096, 4096, device="cuda")
    _busy(cuda, matrix)
    cuda.cuda.synchronize()
    timers = {mode: Timer(mode, cuda=mode) for mode in ("off", "events", "sync")}

    for timer in timers.values():
        for _ in range(3):
            with timer:
                _busy(cuda, matrix)
            cuda.cuda.synchronize()

    events, sync, off = (timers[mode].statistics().min_s for mode in ("events", "sync", "off"))
    assert events == pytest.approx(sync, rel=0.2)
    assert off < events


@pytest.mark.gpu
def test_events_do_not_hold_up_the_loop(cuda):
    matrix = cuda.randn(4096, 4096, device="cuda")
    _busy(cuda, matrix)
    cuda.cuda.synchronize()
    timer = Timer("step", cuda="events")

    start = time.perf_counter()
    for _ in range(3):
        with timer:
            _busy(cuda, matrix)
    launched = time.perf_counter() - start
    cuda.cuda.synchronize()
    finished = time.perf_counter() - start

    assert launched < 0.7 * finished
    assert timer.count == 3
    assert timer.seconds == pytest.approx(finished, rel=0.3)


@pytest.mark.gpu
def test_many_blocks_use_a_bounded_number_of_events(cuda, monkeypatch):
    events = WeakSet()

    class Event(cuda.cuda.Event):
        def __new__(cls, *args, **kwargs):
            event = super().__new__(cls, *args, **kwargs)
            events.add(event)
            return event

    monkeypatch.setattr(cuda.cuda, "Event", Event)
    x = cuda.zeros(8, device="cuda")
    timer = Timer("step", cuda="events")

    for _ in range(2000):
        with timer:
            x += 1

    assert 0 < len(events) <= EVENTS
    assert timer.count == 2000
    assert 0 < timer.statistics().p50_s < 0.01
