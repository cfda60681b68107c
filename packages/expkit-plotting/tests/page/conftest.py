"""A real browser, and experiments as Bookkeeping writes them."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from page_experiments import curves_of, train

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")


class Page:
    """A report in a browser, and what the browser had to complain about.

    Attributes:
        tab: Playwright's page.
        complaints: Errors of scripts, and what the Content-Security-Policy refused.
        requests: Addresses that the page asked for, but its own.
    """

    def __init__(self, tab, path: Path, address: str) -> None:
        self.tab = tab
        self.path = path
        self.complaints: list[str] = []
        self.requests: list[str] = []
        tab.on("console", lambda message: message.type in ("error", "warning")
               and self.complaints.append(message.text))  # fmt: skip
        tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        tab.on("request", lambda request: self._note(request.url))
        tab.goto(f"{path.as_uri()}{'#' + address if address else ''}")

    def _note(self, url: str) -> None:
        if not url.startswith(("data:", self.path.as_uri())):
            self.requests.append(url)

    def run_names(self, table: str = "runs") -> list[str]:
        """The first cells of the rows of a table that are shown, from top to bottom."""
        return self.tab.locator(f"#{table}-table tbody tr:visible th").all_inner_texts()

    def cells(self, row: int, table: str = "runs") -> list[str]:
        return self.tab.locator(f"#{table}-table tbody tr:visible").nth(row).locator(
            "th:visible, td:visible").all_inner_texts()  # fmt: skip

    @property
    def address(self) -> str:
        """What the page's address says after `#`; it is written shortly after a choice."""
        self.tab.wait_for_timeout(250)
        return self.tab.evaluate("decodeURIComponent(location.hash.slice(1))")

    def settle(self) -> None:
        """Wait until what was chosen is drawn."""
        self.tab.evaluate(
            "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )


@pytest.fixture(scope="session")
def browser() -> Iterator:
    """Chromium; CI says EXPKIT_REQUIRE=chromium, and its absence is then a failure."""
    playwright = None
    if BROWSER is not None:
        playwright = pytest.importorskip("playwright.sync_api")
    elif "chromium" in os.environ.get("EXPKIT_REQUIRE", "").split(","):
        pytest.fail("chromium is required here and missing")
    else:
        pytest.skip("needs chromium")
    with playwright.sync_playwright() as tool:
        chromium = tool.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser) -> Iterator[Callable[..., Page]]:
    contexts = []

    def open_it(path: Path, address: str = "", *, size=(1280, 900), **options) -> Page:
        width, height = size
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        return Page(context.new_page(), path, address)

    yield open_it
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def digits(tmp_path_factory) -> Path:
    """Two models, two rates and two seeds; one more run failed."""
    pytest.importorskip("expkit_bookkeeping")  # `tests_runs` says that it has to be there
    experiment = tmp_path_factory.mktemp("page") / "results" / "digits"
    for number, model in enumerate(("cnn", "mlp")):
        for lr in (0.1, 0.001):
            for seed in (1, 2):
                quality = 0.9 - 0.2 * number - (0.1 if lr == 0.1 else 0.0) + 0.01 * seed
                swept = {"model": model, "lr": lr, "seed": seed}
                train(experiment, f"{model}_{lr}_{seed}", swept, curves_of(quality))
    swept = {"model": "cnn", "lr": 10.0, "seed": 1}
    train(experiment, "cnn_10.0_1", swept, {"loss": [2.0, float("nan")]},
          error=RuntimeError("loss is NaN"))  # fmt: skip
    return experiment
