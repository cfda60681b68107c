import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expkit_timer import Timer, Timers

SUFFIXES = [".yaml", ".yml", ".json", ".csv"]


def timed(clock, *seconds, name="epoch"):
    timer = Timer(name, clock=clock)
    for duration in seconds:
        with timer:
            clock.sleep(duration)
    return timer


@pytest.fixture(params=SUFFIXES)
def path(request, tmp_path):
    if request.param in (".yaml", ".yml"):
        pytest.importorskip("yaml")
    return tmp_path / f"timer{request.param}"


def test_what_was_saved_is_loaded(path, clock):
    timer = timed(clock, 1, 2, 4)

    timer.save(path)

    loaded = Timer.load(path)
    assert loaded.name == "epoch"
    assert loaded.to_dict() == timer.to_dict()


def test_saving_again_replaces_what_this_timer_saved(path, clock):
    timer = timed(clock, 1)
    timer.save(path)
    with timer:
        clock.sleep(2)

    timer.save(path)
    timer.save(path)

    assert Timer.load(path).to_dict() == timer.to_dict()


def test_totals_over_attempts_add_up(path, clock):
    first, second = timed(clock, 1, 2), timed(clock, 3, 4, 5)

    first.save(path)
    second.save(path)

    assert Timer.load(path).to_dict() == pytest.approx(
        timed(clock, 1, 2, 3, 4, 5).to_dict(), rel=0.2
    )
    exact = ["count", "total_s", "mean_s", "std_s", "min_s", "max_s"]
    both, all_five = Timer.load(path).to_dict(), timed(clock, 1, 2, 3, 4, 5).to_dict()
    assert [both[key] for key in exact] == pytest.approx([all_five[key] for key in exact])


def test_a_loaded_timer_continues_and_adds_an_attempt(path, clock):
    timed(clock, 1, 2).save(path)
    timer = Timer.load(path, "epoch")

    timer.start()
    timer.stop()
    timer.save(path)
    timer.save(path)

    assert timer.count == 3
    assert Timer.load(path).to_dict() == timer.to_dict()


def test_saving_a_loaded_timer_undoes_nothing_that_was_saved_since(path, clock):
    timer = timed(clock, 1)
    timer.save(path)
    loaded = Timer.load(path)
    with timer:
        clock.sleep(2)
    timer.save(path)

    loaded.save(path)

    assert Timer.load(path).seconds == 3


def test_timers_of_several_names_share_a_file(path, clock):
    timed(clock, 1, name="epoch").save(path)
    timed(clock, 2, name="load, all").save(path)

    assert dict(Timers.load(path).to_dict()).keys() == {"epoch", "load, all"}
    assert Timer.load(path, "load, all").seconds == 2


def test_an_unused_timer_is_saved_too(path, clock):
    Timer("never").save(path)
    timed(clock, 1).save(path)

    assert Timer.load(path, "never").count == 0
    assert Timer.load(path, "epoch").count == 1


def test_folders_are_created_and_no_temporary_file_remains(path, clock):
    deep = path.parent / "a" / "b" / path.name

    timed(clock, 1).save(deep)

    assert [entry.name for entry in deep.parent.iterdir()] == [path.name]


def test_every_process_adds_its_attempt(tmp_path, clock):
    path = tmp_path / "timer.json"
    timed(clock, 1).save(path)
    code = (
        "import sys; from expkit_timer import Timer\n"
        "with Timer('epoch') as timer: pass\n"
        "timer.save(sys.argv[1])"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, path]) for _ in range(4)]

    assert [process.wait() for process in processes] == [0] * 4
    assert Timer.load(path).count == 5


def test_a_killed_process_leaves_a_valid_file(tmp_path):
    path = tmp_path / "timer.json"
    code = (
        "import sys\n"
        "from expkit_timer import Timer\n"
        "timer = Timer('epoch')\n"
        "while True:\n"
        "    with timer: pass\n"
        "    timer.save(sys.argv[1])\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(path)])
    deadline = time.monotonic() + 30
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)

    os.kill(process.pid, signal.SIGKILL)
    process.wait()

    assert Timer.load(path).count >= 1


def test_the_yaml_file_has_the_format_that_the_docs_describe(tmp_path, clock):
    yaml = pytest.importorskip("yaml")
    path = tmp_path / "timer.yaml"

    timed(clock, 40, 42).save(path)
    timed(clock, 41).save(path)

    (entry,) = yaml.safe_load(path.read_text()).values()
    keys = ["count", "total_s", "mean_s", "std_s", "min_s", "max_s", "p50_s", "p95_s"]
    assert list(entry) == [*keys, "total", "attempts"]
    assert [list(attempt) for attempt in entry["attempts"]] == [["id", *keys]] * 2
    assert entry["total"] == "0:02:03"
    assert len([line for line in path.read_text().splitlines() if "- {id:" in line]) == 2


def test_the_csv_file_has_one_row_for_the_total_and_one_per_attempt(tmp_path, clock):
    path = tmp_path / "timer.csv"

    timed(clock, 1).save(path)
    timed(clock, 2).save(path)

    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [row["name"] for row in rows] == ["epoch"] * 3
    assert [float(row["total_s"]) for row in rows] == [3, 1, 2]
    assert rows[0]["id"] == "total"


def test_keys_of_a_newer_version_are_kept(tmp_path, clock):
    path = tmp_path / "timer.json"
    timed(clock, 1).save(path)
    content = json.loads(path.read_text())
    content["epoch"]["note"] = "mine"
    content["epoch"]["attempts"][0]["host"] = "node1"
    path.write_text(json.dumps(content))

    timed(clock, 2).save(path)

    entry = json.loads(path.read_text())["epoch"]
    assert entry["note"] == "mine"
    assert entry["attempts"][0]["host"] == "node1"
    assert entry["count"] == 2


def test_yaml_without_pyyaml_names_the_extra_and_the_other_formats(tmp_path, monkeypatch, clock):
    monkeypatch.setitem(sys.modules, "yaml", None)

    with pytest.raises(ImportError, match=r'pip install "expkit-timer\[yaml\]", or .* \.json or'):
        timed(clock, 1).save(tmp_path / "timer.yaml")


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b/c", "ü: {x}", "1:30"]), st.integers(0, 10**12)),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from(SUFFIXES),
)
def test_any_saves_in_any_order_add_up(tmp_path_factory, saves, suffix):
    if suffix in (".yaml", ".yml"):
        pytest.importorskip("yaml")
    path = tmp_path_factory.mktemp("timers") / f"timer{suffix}"
    expected = {}

    for name, duration in saves:
        now = 0
        timer = Timer(name, clock=lambda: now)  # noqa: B023
        with timer:
            now = duration
        timer.save(path)
        timer.save(path)
        expected.setdefault(name, []).append(duration)

    loaded = Timers.load(path)
    assert {name: timer.count for name, timer in loaded.items()} == {
        name: len(durations) for name, durations in expected.items()
    }
    for name, durations in expected.items():
        assert loaded[name].seconds == pytest.approx(sum(durations) / 1e9)


@pytest.mark.parametrize("kind", [Timer, Timers])
def test_a_check_that_refuses_leaves_the_file_and_makes_no_folder(tmp_path, kind):
    path = tmp_path / "timer.json"
    timer = kind("epoch") if kind is Timer else kind()
    timer.save(path, check=lambda: None)
    before = path.read_bytes()

    def refuse() -> None:
        raise RuntimeError("it belongs to another process now")

    with pytest.raises(RuntimeError, match="another process"):
        timer.save(path, check=refuse)
    with pytest.raises(FileNotFoundError):
        timer.save(tmp_path / "gone" / "timer.json", check=lambda: None)

    assert [entry.name for entry in tmp_path.iterdir()] == ["timer.json"]
    assert path.read_bytes() == before


HOSTILE = {
    "aliases of aliases": "a: &a [x, x]\nb: &b [*a, *a]\nc: {attempts: [*b]}\n",
    "itself": "epoch: &a {attempts: [*a]}\n",
    "no truth": "epoch: {attempts: [{id: !!bool x}]}\n",
    "no number": "epoch: {attempts: [{count: !!int ''}]}\n",
    "no time": "epoch: {attempts: [{id: !!timestamp x}]}\n",
    "brackets": "[" * 100_000,
    "a long text": f"epoch: {{attempts: ['{'x' * 5_000}']}}\n",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_yaml_is_refused_by_the_name_of_its_file_and_stays(tmp_path, clock, text):
    pytest.importorskip("yaml")
    path = tmp_path / "timer.yaml"
    path.write_text(text)

    for read in (lambda: Timers.load(path), lambda: timed(clock, 1).save(path)):
        with pytest.raises(ValueError, match="timer") as raised:
            read()
        assert str(path) in str(raised.value)
        assert len(str(raised.value)) < 500
    assert path.read_text() == text


def test_what_is_no_file_is_not_waited_for(path):
    for make in (os.mkfifo, lambda path: path.symlink_to("/dev/zero")):
        make(path)
        with pytest.raises(ValueError, match="it is a folder, a pipe or a device"):
            Timers.load(path)
        path.unlink()
