import asyncio
import copy
import pickle
import threading

import pytest

from expkit_timer import Timer, TimerError, Timers


@pytest.fixture
def timers(clock):
    return Timers(clock=clock)


def train(timers, clock):
    for _ in range(2):
        with timers("epoch"):
            with timers("load"):
                clock.sleep(1)
            with timers("train"):
                clock.sleep(1)
                with timers("backward"):
                    clock.sleep(6)
            clock.sleep(2)


def test_blocks_within_blocks_are_a_tree(timers, clock):
    train(timers, clock)

    assert list(timers) == ["epoch", "epoch/load", "epoch/train", "epoch/train/backward"]
    assert timers["epoch"].seconds == 20
    assert timers["epoch/train"].seconds == 14
    assert timers["epoch/load"].count == 2


def test_the_tree_is_printed_with_each_timers_share_of_its_parent(timers, clock):
    train(timers, clock)
    with timers("evaluate"):
        clock.sleep(90)

    assert str(timers).splitlines() == [
        "epoch            20.0 s       2 × 10.0 s ± 0 s",
        "├─ load          2.00 s  10%  2 × 1.00 s ± 0 s",
        "└─ train         14.0 s  70%  2 × 7.00 s ± 0 s",
        "   └─ backward   12.0 s  86%  2 × 6.00 s ± 0 s",
        "evaluate        0:01:30       1 × 0:01:30",
    ]
    assert repr(timers) == "<Timers: 5 timers, 0:01:50 at the top>"


def test_wide_characters_and_marks_keep_the_columns_aligned(timers, clock):
    for name in ("读取", "naïve", "nai\u0308ve"):
        with timers(name):
            clock.sleep(1)

    assert str(timers).splitlines() == [
        "读取   1.00 s    1 × 1.00 s",
        "naïve  1.00 s    1 × 1.00 s",
        "nai\u0308ve  1.00 s    1 × 1.00 s",
    ]


def test_the_tree_of_no_blocks_says_so(timers):
    assert str(timers) == "no block timed yet"
    assert len(timers) == 0


def test_a_path_without_a_timer_of_its_own_is_just_a_name_in_the_tree(timers, clock):
    with timers("a/b"):
        clock.sleep(1)

    assert str(timers).splitlines() == ["a", "└─ b  1.00 s    1 × 1.00 s"]


def test_one_of_the_timers_is_an_ordinary_timer(timers, clock):
    with timers("load"):
        clock.sleep(1)
    timer = timers["load"]

    with timer:
        clock.sleep(2)

    assert isinstance(timer, Timer)
    assert timers["load"].seconds == 3
    assert timers.get("nothing") is None
    assert "load" in timers


def test_recursive_blocks_are_part_of_the_outermost_one(timers, clock):
    @timers("walk")
    def walk(depth):
        clock.sleep(1)
        if depth:
            walk(depth - 1)

    with timers("epoch"):
        walk(3)

    assert list(timers) == ["epoch", "epoch/walk"]
    assert (timers["epoch/walk"].seconds, timers["epoch/walk"].count) == (4, 1)


def test_after_an_exception_the_next_block_starts_at_the_root(timers, clock):
    with pytest.raises(ZeroDivisionError), timers("epoch"), timers("load"):
        raise ZeroDivisionError

    with timers("evaluate"):
        pass

    assert list(timers) == ["epoch", "epoch/load", "evaluate"]


def test_a_generator_may_end_its_block_after_the_block_around_it(timers, clock):
    def batches():
        with timers("load"):
            yield

    generator = batches()
    with timers("epoch"):
        next(generator)
        clock.sleep(1)
    clock.sleep(2)
    generator.close()

    assert (timers["epoch"].seconds, timers["epoch/load"].seconds) == (1, 3)
    with timers("epoch"):
        pass
    assert list(timers) == ["epoch", "epoch/load"]


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda timers: pickle.loads(pickle.dumps(timers))]
)
def test_a_copy_starts_with_what_has_been_timed_and_counts_on_its_own(timers, clock, copied):
    train(timers, clock)

    with timers("epoch"):
        twin = copied(timers)
    with twin("evaluate"):
        pass

    assert twin["epoch/train"].to_dict() == timers["epoch/train"].to_dict()
    assert "evaluate" in twin
    assert "evaluate" not in timers
    assert timers["epoch"].count == 3


def test_each_coroutine_keeps_its_own_place_in_the_tree(timers, clock):
    @timers("fetch")
    async def fetch(turns):
        for _ in range(turns):
            clock.sleep(1)
            await asyncio.sleep(0)
        if turns > 1:
            await fetch(0)

    async def main():
        async def one(name, turns):
            with timers(name):
                await fetch(turns)

        await asyncio.gather(one("a", 1), one("b", 3))

    asyncio.run(main())

    assert set(timers) == {"a", "b", "a/fetch", "b/fetch"}
    assert (timers["a/fetch"].seconds, timers["b/fetch"].seconds) == (2, 3)
    assert timers["b/fetch"].count == 1


def test_blocks_of_tasks_are_children_of_the_block_in_which_the_tasks_began(clock):
    timers = Timers(clock=clock)

    async def load(turns):
        with timers("load"):
            for _ in range(turns):
                clock.sleep(1)
                await asyncio.sleep(0)

    async def main():
        with timers("epoch"):
            await asyncio.gather(load(1), load(2))

    asyncio.run(main())

    assert {path: (timer.count, timer.seconds) for path, timer in timers.items()} == {
        "epoch": (1, 3),
        "epoch/load": (2, 2 + 2),
    }


def test_a_thread_begins_at_the_root(timers, clock):
    def work():
        with timers("worker"):
            pass

    with timers("epoch"):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    assert set(timers) == {"epoch", "worker"}


def test_many_threads_may_share_one_block_object(timers):
    block = timers("work")
    start = threading.Barrier(4)

    def work():
        start.wait()
        for _ in range(500):
            with block:
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert timers["work"].count == 2000


def test_two_sets_of_timers_do_not_see_one_another(clock):
    first, second = Timers(clock=clock), Timers(clock=clock)

    with first("a"), second("b"):
        pass

    assert (list(first), list(second)) == (["a"], ["b"])


def test_all_timers_are_saved_and_loaded_at_once(timers, clock, tmp_path):
    train(timers, clock)

    timers.save(tmp_path / "timer.json")

    loaded = Timers.load(tmp_path / "timer.json")
    assert loaded.to_dict() == timers.to_dict()
    assert str(loaded) == str(timers)
    with loaded("epoch"):
        pass
    assert loaded["epoch"].count == 3


def test_a_dataframe_has_one_row_per_timer(timers, clock):
    pytest.importorskip("pandas")
    train(timers, clock)

    frame = timers.to_dataframe()

    assert list(frame.index) == list(timers)
    assert frame["total_s"].tolist() == [20, 2, 14, 12]


def test_ending_a_block_that_has_not_begun_is_an_error(timers):
    with pytest.raises(TimerError, match="the block 'load' has not begun"):
        timers("load").__exit__(None, None, None)
