"""The campaign of faults: which promise a test shows, how often it tries, and the table of both.

`@pytest.mark.faults("a stale owner reaches nothing")` names the promise, in the words of
docs/reliability.md; without a text, the name of the test says it. The fixture `campaign` gives the
rounds and the chance, and counts what was tried. EXPKIT_FAULTS multiplies the rounds,
EXPKIT_FAULTS_SEED repeats a campaign. `nox -s faults` runs all such tests, and them alone.
"""

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

FACTOR = int(os.environ.get("EXPKIT_FAULTS") or 1)  # of the number of rounds
PROPERTY = "promise"  # of a report: it comes here from the workers of pytest-xdist as well
SEED = pytest.StashKey[int]()


@dataclass
class Campaign:
    """What one test of the campaign tries.

    Attributes:
        seed: From which `random` is made, together with the name of the test.
        random: Its chance.
        tried: How often it has tried; 0 if it has not counted.
    """

    seed: int
    random: random.Random
    tried: int = 0

    def rounds(self, count: int) -> range:
        """The numbers of `count` rounds, times EXPKIT_FAULTS; each counts as tried."""
        self.tried += count * FACTOR
        return range(count * FACTOR)


@dataclass
class Promise:
    """A row of the table."""

    tried: int = 0
    held: int = 0
    seconds: float = 0.0
    broken: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """What the column `held` says."""
        if self.broken:
            return f"BROKEN, {self.held}"
        return str(self.held) if self.tried else f"not tried: {self.skipped[0]}"


def pytest_configure(config: pytest.Config) -> None:
    """Choose the seed, the same for all workers."""
    inherited = getattr(config, "workerinput", {}).get("faults_seed")
    chosen = inherited or os.environ.get("EXPKIT_FAULTS_SEED") or random.randrange(1, 1_000_000)
    config.stash[SEED] = int(chosen)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: object) -> None:
    """Hand the seed to a worker of pytest-xdist."""
    node.workerinput["faults_seed"] = node.config.stash[SEED]  # type: ignore[attr-defined]


@pytest.fixture
def campaign(request: pytest.FixtureRequest) -> Campaign:
    """Rounds, chance and the number of tries of one test of the campaign."""
    seed = request.config.stash[SEED]
    print(f"EXPKIT_FAULTS_SEED={seed}")  # pytest shows it if the test fails
    return Campaign(seed, random.Random(f"{seed} {request.node.nodeid}"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Iterator[pytest.TestReport]:
    """Note in the report which promise the test shows, and how often it has tried."""
    report = yield
    mark = item.get_closest_marker("faults")
    if mark is not None and (call.when == "call" or not report.passed):
        sentence = mark.args[0] if mark.args else promise_in(getattr(item, "originalname", ""))
        campaign = getattr(item, "funcargs", {}).get("campaign")
        report.user_properties.append((PROPERTY, (sentence, campaign.tried if campaign else 0)))
    return report


def promise_in(name: str) -> str:
    """The sentence that the name of a test states."""
    return name.removeprefix("test_").replace("_", " ")


def promises(reports: list[pytest.TestReport]) -> dict[str, Promise]:
    """The rows of the table, by promise."""
    rows: dict[str, Promise] = {}
    for report in reports:
        for name, value in report.user_properties:
            if name != PROPERTY:
                continue
            sentence, tried = value
            row = rows.setdefault(sentence, Promise())
            if report.skipped:
                row.skipped.append(str(report.longrepr[2]).removeprefix("Skipped: "))
                continue
            row.seconds += report.duration
            row.tried += max(tried, 1)
            if report.passed:
                row.held += max(tried, 1)
            else:
                row.broken.append(report.nodeid)
    return rows


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the table: promise, tried, held; if this was a campaign."""
    if "faults" not in config.option.markexpr and "EXPKIT_FAULTS" not in os.environ:
        return
    kinds = ("passed", "failed", "error", "skipped")
    reports = [report for kind in kinds for report in terminalreporter.stats.get(kind, ())]
    rows = promises([report for report in reports if isinstance(report, pytest.TestReport)])
    if not rows:
        return
    seed = config.stash[SEED]
    terminalreporter.section(f"promises: EXPKIT_FAULTS={FACTOR}, EXPKIT_FAULTS_SEED={seed}")
    width = max(map(len, rows))
    terminalreporter.write_line(f"{'promise':{width}}  {'tried':>6}  {'s':>5}  held")
    for sentence, row in sorted(rows.items()):
        terminalreporter.write_line(
            f"{sentence:{width}}  {row.tried:6}  {row.seconds:5.0f}  {row.verdict}",
            red=bool(row.broken),
            yellow=not row.tried,
        )
    for row in rows.values():
        for nodeid in row.broken:
            terminalreporter.write_line(f"broken by {nodeid}", red=True)
