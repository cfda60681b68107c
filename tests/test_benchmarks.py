"""What the benchmarks say about their figures; the figures themselves need a quiet machine."""

import json
import os
import subprocess
import sys

import pytest
from workspace import REPOSITORY

BENCHMARKS = REPOSITORY / "benchmarks"


@pytest.fixture
def measuring(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import measuring

    return measuring


def measure_case(measuring, size, *, with_peer=True):
    """Ours takes 5 per unit, the floor 4, the peer 100."""
    bars = [
        measuring.Bar(at_most=60),
        measuring.Bar(at_most=1.1, times="floor"),
        measuring.Bar(at_most=20, over="floor"),
        measuring.Bar(at_most=0.1, times="peer"),
        measuring.Bar(at_least=1, figure="survived"),
    ]
    ours = measuring.Contender(
        "ours", lambda: (5.0 * size, {"survived": 1.0}), floor="floor", peer="peer", bars=bars
    )
    contenders = [ours, measuring.Contender("floor", lambda: 4.0 * size)]
    if with_peer:
        contenders.append(measuring.Contender("peer", lambda: 100.0 * size, repeats=1))
    return measuring.measure(f"{size} units", contenders, 3)


def test_a_bar_is_met_missed_or_not_measured(measuring):
    ours, _, peer = measure_case(measuring, 10)
    alone, _ = measure_case(measuring, 100, with_peer=False)

    assert [bar.met for bar in ours.bars] == [True, False, True, True, True]
    assert [bar.met for bar in alone.bars] == [False, False, False, None, True]
    assert [bar.value for bar in ours.bars] == [50, 1.25, 10, 0.05, 1]
    assert (ours.repeats, peer.repeats, alone.peer) == (3, 1, None)


def test_growth_compares_costs_per_unit(measuring):
    rows = measure_case(measuring, 10) + measure_case(measuring, 100)
    sizes = {"10 units": 10, "100 units": 100, "1000 units": 1000}

    linear = measuring.growth(rows, "ours", sizes, at_most=1.3)
    flat = measuring.growth(rows, "ours", dict.fromkeys(sizes, 1), at_most=1.3)

    assert (linear[3].bars[-1].value, linear[3].bars[-1].met) == (1, True)
    assert (flat[3].bars[-1].value, flat[3].bars[-1].met) == (10, False)


def test_one_command_updates_the_figures_in_a_readme_and_nothing_else(measuring, tmp_path):
    rows = measure_case(measuring, 10) + measure_case(measuring, 100, with_peer=False)
    measuring.report("units", "s", rows, tmp_path, note="A note.")
    readme = tmp_path / "README.md"
    place = "<!-- figures of {} -->\nold\n<!-- end of figures -->\n"
    readme.write_text(
        "above\n" + "".join(map(place.format, ["brief", "units", "not measured"])) + "below\n"
    )

    command = [sys.executable, str(BENCHMARKS / "summary.py"), str(tmp_path), "--failed", "grid"]
    done = subprocess.run(
        [*command, "--write", str(readme)], capture_output=True, text=True, check=True
    )

    text = readme.read_text()
    assert text.startswith("above\n<!-- figures of brief -->\nMeasured ")
    assert text.endswith(place.format("not measured") + "below\n")
    assert "A note.\n<!-- end of figures -->" in text
    assert "| 10 units  | ours  | 50.0 " in text
    assert "Failed, so without figures: grid." in done.stdout
    assert json.loads((tmp_path / "summary.json").read_text())["failed"] == ["grid"]


def test_without_slurm_its_area_says_so_and_does_not_fail(tmp_path):
    command = [sys.executable, str(BENCHMARKS / "slurm.py"), "--json", str(tmp_path)]
    environment = {**os.environ, "PATH": str(tmp_path)}

    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)

    assert len(done.stdout.splitlines()) == 1
    assert "this machine lacks" in done.stdout
    assert "sbatch" in done.stdout
    assert not list(tmp_path.iterdir())
