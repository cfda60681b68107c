import asyncio
import copy
import math
import pickle
import statistics
import subprocess
import sys
import threading
import time
import tracemalloc
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from multiprocessing import get_context

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expkit_timer import Timer, TimerError


def timed(clock, *seconds, name="epoch"):
    timer = Timer(name, clock=clock)
    for duration in seconds:
        with timer:
            clock.sleep(duration)
    return timer


def pickled(timer):
    return pickle.loads(pickle.dumps(timer))


def fail_after(clock, seconds):
    clock.sleep(seconds)
    raise ZeroDivisionError


class TestBlocks:
    def test_a_with_block_is_timed(self, clock):
        timer = timed(clock, 2)

        assert timer.seconds == 2
        assert timer.count == 1

    def test_start_and_stop_time_a_block(self, clock):
        timer = Timer(clock=clock)

        timer.start()
        clock.sleep(3)
        timer.stop()

        assert (timer.seconds, timer.last, timer.running) == (3, 3, False)

    def test_a_pause_does_not_count(self, clock):
        timer = Timer(clock=clock)

        with timer:
            clock.sleep(1)
            for _ in range(2):
                timer.pause()
                clock.sleep(10)
                timer.resume()
                clock.sleep(2)

        assert (timer.seconds, timer.count) == (5, 1)

    def test_a_paused_block_can_be_stopped(self, clock):
        timer = Timer(clock=clock)
        timer.start()
        clock.sleep(1)
        timer.pause()
        clock.sleep(5)

        timer.stop()

        assert timer.seconds == 1

    def test_a_block_inside_a_block_of_the_same_timer_is_part_of_the_outer_one(self, clock):
        timer = Timer(clock=clock)

        with timer:
            clock.sleep(1)
            with timer, timer:
                clock.sleep(2)
            clock.sleep(4)

        assert (timer.seconds, timer.count) == (7, 1)

    def test_recursion_counts_the_outermost_call(self, clock):
        timer = Timer(clock=clock)

        @timer
        def descend(depth):
            clock.sleep(1)
            if depth:
                descend(depth - 1)

        descend(9)
        descend(0)

        assert (timer.seconds, timer.count) == (11, 2)

    def test_different_timers_nest(self, clock):
        outer, inner = Timer("outer", clock=clock), Timer("inner", clock=clock)

        with outer:
            clock.sleep(1)
            with inner:
                clock.sleep(2)

        assert (outer.seconds, inner.seconds) == (3, 2)

    def test_a_block_that_ends_with_an_exception_counts(self, clock):
        timer = Timer(clock=clock)

        with pytest.raises(ZeroDivisionError), timer:
            fail_after(clock, 1)

        assert (timer.seconds, timer.count, timer.running) == (1, 1, False)

    def test_running_says_whether_this_thread_is_inside_a_block(self, clock):
        timer = Timer(clock=clock)

        with timer as entered:
            assert timer.running
            assert "running" in repr(timer)
            running_elsewhere = []
            thread = threading.Thread(target=lambda: running_elsewhere.append(timer.running))
            thread.start()
            thread.join()

        assert entered is timer
        assert not timer.running
        assert running_elsewhere == [False]

    def test_the_real_clock_is_monotonic_and_in_seconds(self):
        timer = Timer()

        with timer:
            time.sleep(0.02)

        assert 0.02 <= timer.seconds < 1


class TestDecorator:
    def test_each_call_is_timed_and_the_function_keeps_its_name_and_result(self, clock):
        timer = Timer("f", clock=clock)

        @timer
        def f(a, *, b=2):
            """Say."""
            clock.sleep(a)
            return a + b

        assert f(1, b=5) == 6
        assert f(2) == 4
        assert (timer.seconds, timer.count) == (3, 2)
        assert (f.__name__, f.__doc__) == ("f", "Say.")

    def test_a_method_is_timed(self, clock):
        timer = Timer(clock=clock)

        class Model:
            @timer
            def forward(self, x):
                clock.sleep(x)
                return self

        model = Model()

        assert model.forward(2) is model
        assert timer.seconds == 2

    def test_coroutines_that_take_turns_are_each_timed(self, clock):
        timer = Timer(clock=clock)

        @timer
        async def work(turns):
            for _ in range(turns):
                clock.sleep(1)
                await asyncio.sleep(0)
            return turns

        async def main():
            return await asyncio.gather(work(1), work(3))

        assert asyncio.run(main()) == [1, 3]
        # turns: a b (a ends) b b (b ends): a runs from 0 to 2, b from 1 to 4
        assert timer.count == 2
        assert timer.seconds == 2 + 3
        assert asyncio.iscoroutinefunction(work)

    def test_a_coroutine_that_awaits_itself_counts_once(self, clock):
        timer = Timer(clock=clock)

        @timer
        async def descend(depth):
            clock.sleep(1)
            if depth:
                await descend(depth - 1)

        asyncio.run(descend(4))

        assert (timer.seconds, timer.count) == (5, 1)

    def test_an_object_whose_call_is_a_coroutine_is_timed_to_its_end(self, clock):
        timer = Timer(clock=clock)

        class Model:
            async def __call__(self):
                await asyncio.sleep(0)
                clock.sleep(2)

        asyncio.run(timer(Model())())

        assert timer.seconds == 2

    def test_a_coroutine_that_raises_counts(self, clock):
        timer = Timer(clock=clock)

        @timer
        async def fail():
            clock.sleep(1)
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            asyncio.run(fail())

        assert (timer.seconds, timer.count) == (1, 1)


class TestTasks:
    def test_each_task_times_its_own_blocks(self, clock):
        timer = Timer(clock=clock)

        async def work(turns):
            with timer:
                for _ in range(turns):
                    clock.sleep(1)
                    await asyncio.sleep(0)

        async def main():
            await asyncio.gather(work(1), work(3), work(3))

        asyncio.run(main())

        # turns: a b c, (a ends) b c, b c, (b ends) (c ends)
        assert timer.count == 3
        assert timer.seconds == 3 + 6 + 5
        assert not timer.running

    def test_a_task_inside_a_block_of_another_counts_by_itself(self, clock):
        timer = Timer(clock=clock)

        async def work():
            with timer:
                clock.sleep(1)
                await asyncio.sleep(0)

        async def main():
            with timer:
                await asyncio.gather(work(), work())

        asyncio.run(main())

        assert timer.count == 3
        assert timer.seconds == 2 + 2 + 1

    def test_blocks_nest_and_pause_within_a_task(self, clock):
        timer = Timer(clock=clock)

        @timer
        async def load():
            clock.sleep(1)
            await asyncio.sleep(0)

        async def work():
            with timer:
                await load()
                timer.pause()
                clock.sleep(10)
                await asyncio.sleep(0)
                timer.resume()
                with timer:
                    await load()

        async def main():
            await asyncio.gather(work(), work())

        asyncio.run(main())

        # a runs from 0 to 2 and from 22 to 24, b from 1 to 12 and from 23 to 24.
        assert timer.count == 2
        assert timer.seconds == (2 + 2) + (11 + 1)

    def test_a_block_around_the_event_loop_is_the_outermost_one(self, clock):
        timer = Timer(clock=clock)

        async def work():
            with timer:
                clock.sleep(1)
                await asyncio.sleep(0)

        async def main():
            await asyncio.gather(work(), work())

        with timer:
            asyncio.run(main())

        assert (timer.seconds, timer.count) == (2, 1)

    def test_a_task_that_waits_in_its_block_leaves_those_around_the_loop_alone(self, clock):
        timer = Timer(clock=clock)
        loop = asyncio.new_event_loop()
        resume = asyncio.Event()

        async def work():
            with timer:
                await resume.wait()

        async def begin():
            task = asyncio.ensure_future(work())
            await asyncio.sleep(0)
            return task

        async def end(task):
            resume.set()
            await task

        task = loop.run_until_complete(begin())
        clock.sleep(1)
        with timer:
            clock.sleep(2)
            loop.run_until_complete(end(task))
            clock.sleep(4)
        loop.close()

        assert timer.count == 2
        assert timer.seconds == (1 + 2) + (2 + 4)

    def test_a_generator_that_is_closed_by_another_task_ends_its_block(self, clock):
        timer = Timer(clock=clock)

        async def batches():
            with timer:
                while True:
                    clock.sleep(1)
                    yield

        async def main():
            iterator = batches()
            await anext(iterator)
            await asyncio.ensure_future(iterator.aclose())
            with timer:
                clock.sleep(4)

        asyncio.run(main())

        assert (timer.seconds, timer.count) == (5, 2)

    def test_start_and_stop_are_of_a_task(self, clock):
        timer = Timer(clock=clock)

        async def work():
            timer.start()
            with pytest.raises(TimerError, match=r"already running in this task"):
                timer.start()
            await asyncio.sleep(0)
            timer.stop()
            assert not timer.running

        async def main():
            assert not timer.running
            await asyncio.gather(work(), work())
            with pytest.raises(TimerError, match=r"not running in this task, so .* stop\(\)"):
                timer.stop()

        asyncio.run(main())

        assert timer.count == 2

    def test_start_and_stop_in_callbacks_of_a_loop_are_of_its_thread(self, clock):
        timer = Timer(clock=clock)

        async def main():
            loop = asyncio.get_running_loop()
            loop.call_soon(timer.start)
            loop.call_soon(clock.sleep, 1)
            loop.call_soon(timer.stop)
            await asyncio.sleep(0)

        asyncio.run(main())

        assert (timer.seconds, timer.count) == (1, 1)

    def test_loops_in_several_threads_do_not_mix(self):
        timer = Timer()

        async def work():
            for _ in range(100):
                with timer:
                    await asyncio.sleep(0)

        async def main():
            await asyncio.gather(*[work() for _ in range(5)])

        threads = [threading.Thread(target=lambda: asyncio.run(main())) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(100):
            with timer:
                pass
        for thread in threads:
            thread.join()

        assert timer.count == 4 * 5 * 100 + 100

    def test_a_block_does_not_import_asyncio(self):
        code = (
            "import sys; from expkit_timer import Timer\n"
            "timer = Timer()\n"
            "with timer: pass\n"
            "assert 'asyncio' not in sys.modules\n"
            "import asyncio\n"
            "async def work():\n"
            "    with timer: await asyncio.sleep(0)\n"
            "async def main(): await asyncio.gather(work(), work())\n"
            "asyncio.run(main())\n"
            "assert timer.count == 3"
        )
        subprocess.run([sys.executable, "-c", code], check=True)


class TestThreads:
    def test_blocks_in_all_threads_count_and_none_is_lost(self):
        timer = Timer()
        start = threading.Barrier(8)

        def work():
            start.wait()
            for _ in range(5_000):
                with timer:
                    pass

        threads = [threading.Thread(target=work) for _ in range(8)]
        switch = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                timer.statistics()
        finally:
            sys.setswitchinterval(switch)
            for thread in threads:
                thread.join()

        assert timer.count == 8 * 5_000

    def test_threads_do_not_mix_their_blocks(self, clock):
        timer = Timer(clock=clock)
        inside, leave = threading.Event(), threading.Event()

        def work():
            with timer:
                inside.set()
                leave.wait()

        thread = threading.Thread(target=work)
        thread.start()
        inside.wait()
        with timer:
            clock.sleep(1)
        assert timer.count == 1

        clock.sleep(1)
        leave.set()
        thread.join()

        assert timer.seconds == 1 + 2


class TestCopies:
    @pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickled])
    def test_a_copy_starts_with_what_has_been_timed_and_counts_on_its_own(self, clock, copied):
        timer = timed(clock, 1, 2)
        with timer:
            twin = copied(timer)

            assert not twin.running
            with twin:
                pass

        assert (twin.name, twin.count, twin.seconds) == ("epoch", 3, 3)
        assert (timer.count, timer.seconds) == (3, 3)

    def test_originals_and_copies_in_one_file_count_nothing_twice(self, clock, tmp_path):
        timer = timed(clock, 1, 2)
        twin = copy.copy(timer)
        for original_or_copy in (timer, twin, twin):
            with original_or_copy:
                clock.sleep(10)

        for original_or_copy in (timer, twin, timer):
            original_or_copy.save(tmp_path / "timer.json")

        assert Timer.load(tmp_path / "timer.json").count == 5
        assert Timer.load(tmp_path / "timer.json").seconds == 33

    def test_a_timer_travels_to_a_spawned_process_and_back(self):
        timer = Timer("load")
        with timer:
            pass

        # copy.copy, which every process can import: a pool would wait forever for a lost task.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            back = pool.submit(copy.copy, timer).result(timeout=60)
        with back:
            pass

        assert (back.count, timer.count) == (2, 1)

    def test_a_module_that_holds_a_timer_can_be_copied(self, torch):
        model = torch.nn.Linear(1, 1)
        model.timer = Timer("forward")

        assert copy.deepcopy(model).timer.name == "forward"


class TestRetrieval:
    def test_seconds_timedelta_text_dict_and_string(self, clock):
        timer = timed(clock, 40, 42)

        assert timer.seconds == 82
        assert timer.timedelta == timedelta(seconds=82)
        assert timer.text == "0:01:22"
        assert timer.last == 42
        assert timer.to_dict() == timer.statistics()._asdict()
        assert str(timer) == (
            "epoch: 0:01:22 in 2 blocks of 41.0 s ± 1.41 s (p50 41.0 s, p95 41.9 s)"
        )
        assert repr(timer).startswith("<Timer epoch: 0:01:22")

    def test_one_block_has_no_deviation(self, clock):
        timer = timed(clock, 2)

        assert str(timer) == "epoch: 2.00 s in 1 block"
        assert timer.statistics().std_s == 0

    def test_an_unused_timer_has_zero_seconds_and_no_mean(self):
        timer = Timer("epoch")

        assert timer.seconds == 0
        assert timer.count == 0
        assert math.isnan(timer.statistics().mean_s)
        assert str(timer) == "epoch: no block timed yet"

    def test_a_dataframe_has_one_row_per_timer(self, clock):
        pytest.importorskip("pandas")

        frame = timed(clock, 1, 3).to_dataframe()

        assert list(frame.index) == ["epoch"]
        assert frame.loc["epoch", "mean_s"] == 2
        assert frame["count"].dtype == "int64"

    def test_without_pandas_the_error_names_the_extra(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "pandas", None)

        with pytest.raises(ImportError, match=r'pip install "expkit-timer\[pandas\]"'):
            Timer().to_dataframe()


@given(
    durations=st.lists(st.integers(0, 10**13), min_size=1, max_size=60),
    reads=st.sets(st.integers(0, 59)),
)
def test_statistics_are_those_of_all_durations_whenever_they_are_read(durations, reads):
    now = 0
    timer = Timer(clock=lambda: now)

    for number, duration in enumerate(durations):
        with timer:
            now += duration
        if number in reads:
            timer.statistics()

    actual = timer.statistics()
    assert actual.count == len(durations)
    assert actual.total_s == sum(durations) / 1e9
    assert actual.mean_s == pytest.approx(statistics.fmean(durations) / 1e9)
    assert actual.min_s == min(durations) / 1e9
    assert actual.max_s == max(durations) / 1e9
    deviation = statistics.stdev(durations) / 1e9 if len(durations) > 1 else 0
    assert actual.std_s == pytest.approx(deviation, rel=1e-9, abs=1e-12 * max(durations))
    assert actual.p50_s == pytest.approx(statistics.median(durations) / 1e9)
    assert actual.min_s <= actual.p50_s <= actual.p95_s <= actual.max_s


@given(st.lists(st.sampled_from(["enter", "exit", "pause", "resume", "wait"]), max_size=40))
def test_any_order_of_calls_adds_up_or_is_refused(calls):
    now = 0
    timer = Timer("t", clock=lambda: now)
    depth, paused, expected, block = 0, False, 0, 0

    for call in calls:
        if call == "wait":
            now += 7
            block += 7 if depth and not paused else 0
        elif call == "enter":
            timer.__enter__()
            depth += 1
        elif not depth or (paused == (call == "pause") and call != "exit"):
            refused = {"exit": timer.stop, "pause": timer.pause, "resume": timer.resume}[call]
            with pytest.raises(TimerError, match="Timer 't' is"):
                refused()
        elif call == "exit":
            timer.__exit__(None, None, None)
            depth -= 1
            if not depth:
                expected, block, paused = expected + block, 0, False
        else:
            getattr(timer, call)()
            paused = not paused

    assert timer.running == bool(depth)
    assert timer.seconds == expected / 1e9


def test_a_long_running_timer_keeps_bounded_memory_and_good_quantiles():
    # Durations 1, 2, …, 1000, 1, 2, … µs: the quantiles are known, and there is a period.
    now, count = 0, 300_000
    timer = Timer(clock=lambda: now)

    tracemalloc.start()
    try:
        for number in range(count):
            with timer:
                now += 1000 * (number % 1000 + 1)
        statistics_of_all = timer.statistics()
        memory, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert statistics_of_all.count == count
    assert statistics_of_all.p50_s == pytest.approx(500e-6, rel=0.08)
    assert statistics_of_all.p95_s == pytest.approx(950e-6, rel=0.03)
    assert (statistics_of_all.min_s, statistics_of_all.max_s) == (1e-6, 1e-3)
    assert memory < 300_000  # all durations would take 12 MB
    assert peak < 600_000


def test_a_timed_block_is_cheap():
    timer = Timer()

    def blocks():
        for _ in range(20_000):
            with timer:
                pass

    seconds_per_block = []
    for _ in range(7):
        start = time.process_time()
        blocks()
        seconds_per_block.append((time.process_time() - start) / 20_000)

    assert min(seconds_per_block) < 1.5e-6  # about 0.5 µs; the margin is for busy machines
