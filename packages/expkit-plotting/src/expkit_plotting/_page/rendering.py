"""The page itself: one file of HTML that needs no other, and runs no script but its own."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any

from .columns import Column
from .content import PageContent, state_counts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

LIBRARY = "echarts.min.js"
MOST_STATIC_ROWS = 2000
MINUTE = "%Y-%m-%d %H:%M UTC"


def render_page(content: PageContent, *, live: bool = False) -> str:
    """The HTML of a page.

    Every text that is not this package's own gets into it as text, by Jinja's escaping, or as
    JSON that a script only turns into text; the Content-Security-Policy forbids all else.

    Args:
        content: What it shows.
        live: Whether it asks its own file for newer versions, as it is rewritten.

    Raises:
        ImportError: If Jinja2 is missing.
    """
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError as error:
        raise ImportError(
            "A report needs Jinja2: pip install 'expkit-plotting[report]'."
        ) from error
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True,
                              lstrip_blocks=True)  # fmt: skip
    template = environment.from_string(_asset("page.html"))
    version = secrets.token_hex(8)
    data = {**content.data, "live": live, "version": version}
    probe = (
        f'if (location.hash === "#version") {{ parent.postMessage({{ expkitVersion: "{version}" }}'
        ', "*"); window.stop(); }'
    )
    style, library, script = _asset("page.css"), _asset(LIBRARY), _script()
    from markupsafe import Markup

    return template.render(
        title=content.title,
        content=content,
        experiments=[
            {"facts": part, "states": state_counts(part), "trained": _period(part.trained)}
            for part in content.experiments
        ],
        rows=_static_rows(content.columns, content.data["runs"]),  # type: ignore[arg-type]
        left_out=max(0, len(content.data["runs"]) - MOST_STATIC_ROWS),  # type: ignore[arg-type]
        best=_best(content),
        made_at=f"{content.made_at:{MINUTE}}",
        policy=_policy([*([probe] if live else ()), library, script], style, live=live),
        probe=Markup(probe) if live else None,
        style=Markup(style),
        library=Markup(library),
        script=Markup(script),
        data=Markup(_json(data)),
        curves=Markup(_json(content.curves)),
        licences=_asset("LICENSES.txt"),
    )


def _policy(scripts: Sequence[str], style: str, *, live: bool) -> str:
    """A Content-Security-Policy that lets nothing run but these scripts, and nothing be loaded."""
    parts = {
        "default-src": "'none'",
        "script-src": " ".join(map(_hash, scripts)),
        "style-src": _hash(style),
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    if live:  # its own file, for its version
        parts["frame-src"] = "'self' file:"
    return "; ".join(f"{name} {value}" for name, value in parts.items())


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _json(data: object) -> str:
    """JSON that cannot end the element it is in."""
    text = json.dumps(data, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


@cache
def _asset(name: str) -> str:
    return (_assets() / name).read_text(encoding="utf-8")


@cache
def _script() -> str:
    folder = _assets() / "scripts"
    names = sorted(part.name for part in folder.iterdir() if part.name.endswith(".js"))
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in names)


def _assets() -> Traversable:
    return files(__package__) / "assets"


def _static_rows(
    columns: Sequence[Column], runs: Sequence[dict[str, object]]
) -> list[list[tuple[str, str]]]:
    """The cells of the table without scripts, each with its class."""
    best = _best_places(columns, runs)
    rows = []
    for place, run in enumerate(runs[:MOST_STATIC_ROWS]):
        values = run["values"]
        assert isinstance(values, list)
        cells = []
        for number, (column, value) in enumerate(zip(columns, values, strict=True)):
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            kind = "number" if is_number or column.kind == "number" else ""
            if place in best.get(number, ()):
                kind += " best"
            cells.append((cell_text(value), kind))
        rows.append(cells)
    return rows


def _best_places(
    columns: Sequence[Column], runs: Sequence[dict[str, object]]
) -> dict[int, frozenset[int]]:
    """By column that has a direction the rows with its best value."""
    best = {}
    for number, column in enumerate(columns):
        if column.direction is None:
            continue
        values = [run["values"][number] for run in runs]  # type: ignore[index]
        numbers = [value for value in values if isinstance(value, (int, float))]
        if len(numbers) > 1:
            extreme = max(numbers) if column.direction == "maximize" else min(numbers)
            best[number] = frozenset(
                place for place, value in enumerate(values) if value == extreme
            )
    return best


def cell_text(value: object) -> str:
    """A value as a table shows it.

    Examples:
        >>> cell_text(0.98765432), cell_text(None), cell_text(20), cell_text("NaN")
        ('0.9877', '–', '20', 'NaN')
    """
    if value is None:
        return "–"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e6 else f"{value:.4g}"
    return str(value)


def _period(trained: tuple[str, str] | None) -> str | None:
    """When an experiment was trained, to the minute.

    Examples:
        >>> _period(("2026-11-30T08:55:01Z", "2026-11-30T09:10:59Z"))
        '2026-11-30 08:55 to 09:10 UTC'
    """
    try:
        first, last = (datetime.fromisoformat(time).astimezone(UTC) for time in trained or ())
    except ValueError:  # nothing was started, or times are damaged
        return None
    if f"{first:{MINUTE}}" == f"{last:{MINUTE}}":
        return f"{last:{MINUTE}}"
    if first.date() == last.date():
        return f"{first:%Y-%m-%d %H:%M} to {last:%H:%M UTC}"
    return f"{first:%Y-%m-%d %H:%M} to {last:{MINUTE}}"


def _best(content: PageContent) -> dict[str, object] | None:
    place, metric = content.data["best"], content.data["metric"]
    if not isinstance(place, int) or metric is None:
        return None
    run = content.data["runs"][place]  # type: ignore[index]
    values = dict(zip((column.name for column in content.columns), run["values"], strict=True))
    return {
        "place": place,
        "metric": str(metric).removeprefix("best_"),
        "value": cell_text(values[str(metric)]),
        "run": run["name"],
        "swept": [
            (column.label, cell_text(values[column.name]))
            for column in content.columns
            if column.kind == "key"
        ],
        "mean": _best_mean(content.data["groups"], str(metric)),  # type: ignore[arg-type]
    }


def _best_mean(groups: dict[str, Any], metric: str) -> str | None:
    """The group with the best mean, where runs are repeated: one lucky seed is no method."""
    names = [column["name"] for column in groups["columns"]]
    if metric not in names:
        return None
    place = names.index(metric)
    row = next((row for row in groups["rows"] if place in row["best"]), None)
    if row is None:
        return None
    mean, spread, n = row["cells"][place]
    if n < 2:
        return None
    return f"{cell_text(mean)} ± {cell_text(spread)} (n = {n}): " + ", ".join(
        cell_text(label) for label in row["labels"]
    )
