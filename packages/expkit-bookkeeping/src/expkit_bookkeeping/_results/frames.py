"""The runs of an experiment as pandas frames. Imported only when somebody asks for one."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from .._optional import pandas as pd
from .._recording.metrics import metric_rows
from .columns import Columns
from .groups import (
    REPEATED_BY_DEFAULT,
    configuration_differences,
    differences_text,
    repeated_keys,
    repeated_names,
)
from .statistics import (
    SPREADS,
    PairedDifference,
    Repetition,
    average_inner,
    paired_difference,
    summary,
)
from .swept import UNKNOWN, Unknown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._runs.records import RunRecord


MOST_DECIMALS = 15  # of a number in a table
REPORT = "report.html"  # what `expkit report` of expkit-plotting writes
Groups = Mapping[tuple[str, ...], Sequence[int]]  # the rows of each group


class Results(pd.DataFrame):
    """The runs of an experiment, one per row, with the columns of results.csv.

    In the column of a swept key NaN means that the run's configuration has no such key, and `?`
    that nothing tells its value.
    """

    @property
    def _constructor(self) -> Callable[..., Results]:
        return Results

    def _repr_html_(self) -> str | None:
        """What a notebook shows: the table, and a link to the experiment's report if it has one."""
        html: str | None = super()._repr_html_()  # type: ignore[misc]  # not in the stubs
        report = Path(str(self.attrs.get("experiment", ".")), REPORT)
        if html is None or not report.is_file():
            return html
        path = os.path.relpath(report)
        return f'{html}<div><a href="{quote(path)}" target="_blank">{escape(path)}</a></div>'

    def table(
        self,
        group_by: str | Sequence[str] | None = None,
        *,
        metrics: str | Sequence[str] | None = None,
        state: str | None = "completed",
        repeat: str | Sequence[str] | None = None,
        spread: str = "std",
    ) -> Table:
        """Means of metrics over the runs of each group.

        Where several repeated keys vary, such as folds of several seeds, the inner ones are
        averaged first: the mean is over the seeds' means, and n counts seeds.

        Args:
            group_by: Columns that runs of one group share. None: all swept keys but those of
                `repeat`.
            metrics: Columns to summarise. None: metrics and their best values, what task functions
                returned, and saved numbers.
            state: Runs to count; None: all.
            repeat: Keys that only repeat a configuration, the outermost first. None:
                `expkit.repeat`, which is `[seed]` unless the configuration says something else.
            spread: What stands beside the mean: `std`, the sample standard deviation (n - 1);
                `sem`, the standard error; `ci95`, half of the 95 % confidence interval (Student's
                t); `range`, the smallest and largest value; or `quartiles`, with the median
                instead of the mean.

        Returns:
            One row per group, in the order of first appearance. Columns (metric, mean),
            (metric, std) and (metric, n), the number of values that the mean is over; a standard
            deviation of one value is NaN. The column (runs, count) has the number of runs.
            A swept key that the runs of a group do not have is shown as "–".

        Warns:
            UserWarning: If configurations within a group differ in more than swept keys.

        Raises:
            KeyError: If there is no such column.
            ValueError: If there are no metrics, no run to count, or no such spread.
        """
        if spread not in SPREADS:
            raise ValueError(f"There is no spread {spread!r}. Known: {', '.join(SPREADS)}.")
        repeated = self._repeated(repeat)
        keys = self._columns(group_by, "swept")
        if group_by is None:
            keys = [key for key in keys if key not in repeated]
        names = self._columns(metrics, "metrics")
        if not names:
            logged = [str(name) for name in self.attrs.get("metrics", ())]
            if logged and metrics is None:
                shown = ", ".join(logged[:8]) + (", …" if len(logged) > 8 else "")
                raise KeyError(f"This frame has no column of a metric. Keep one of {shown}.")
            raise ValueError("No metrics to summarise: none of these runs has logged one.")
        runs = self._in_state(state)
        groups = _positions_by(runs, keys)
        repetitions = _repetitions(runs, [key for key in repeated if key not in keys], groups)
        runs._warn_of_differences(groups, keys)
        rows = []
        for positions in groups.values():
            row: dict[tuple[str, str], float] = {}
            for name in names:
                values: dict[Repetition, list[float]] = {}
                column = runs[name].to_numpy(dtype=float, na_value=math.nan)
                for position in positions:
                    values.setdefault(repetitions[position], []).append(column[position])
                averaged = average_inner(values)
                for part, number in summary(averaged, spread).items():
                    row[name, part] = number
                row[name, "n"] = len(averaged)
            row["runs", "count"] = len(positions)
            rows.append(row)
        table = Table(rows, index=_index(runs, keys, groups))
        table.columns = pd.MultiIndex.from_tuples(rows[0])
        table.attrs = {"directions": self.attrs.get("directions", {}), "spread": spread}
        return table

    def paired(
        self,
        metric: str,
        first: Mapping[str, object],
        second: Mapping[str, object],
        *,
        repeat: str | Sequence[str] | None = None,
        state: str | None = "completed",
    ) -> PairedDifference:
        """Compare two groups of runs over the repetitions, such as seeds, that both have.

        What the seed decides, the split of the data for instance, is then the same in both halves
        of a pair, and no longer hides a difference. Where folds of several seeds are repeated, the
        differences are averaged over each seed's folds first.

        Args:
            metric: The column to compare.
            first: The runs of one group: column → value, such as `{"model": "cnn"}`.
            second: The other group.
            repeat: See `table`.
            state: Runs to count; None: all.

        Raises:
            KeyError: If there is no such column.
            ValueError: If a group has several runs of one repetition, or the groups have no
                repetition in common.
        """
        self._columns([metric, *first, *second], "swept")
        repeated = self._repeated(repeat)
        runs = self._in_state(state)
        halves = [runs._values_by_repetition(metric, group, repeated) for group in (first, second)]
        return paired_difference(metric, *halves)

    def _in_state(self, state: str | None) -> Results:
        if state is not None and "state" not in self.columns:
            raise KeyError(
                f"There is no column 'state', so {state} runs cannot be told from others. Keep it, "
                "or count all rows with state=None."
            )
        runs = self if state is None else self[self["state"] == state]
        if runs.empty:
            counts = ", ".join(
                f"{count} {name}" for name, count in self["state"].value_counts().items()
            )
            raise ValueError(
                f"No {state} run to summarise; there are: {counts or 'none at all'}. "
                "state=None counts them all."
            )
        return runs

    def _values_by_repetition(
        self, metric: str, group: Mapping[str, object], repeated: Sequence[str]
    ) -> dict[Repetition, float]:
        wanted = tuple(_identity(value) for value in group.values())
        positions = _positions_by(self, list(group)).get(wanted, [])
        runs = self.iloc[positions]
        by_repetition = _positions_by(runs, repeated)
        for places in by_repetition.values():
            if len(places) > 1:
                names = ", ".join(runs["run_name"].iloc[places[:2]])
                swept = [key for key in self._columns(None, "swept") if key not in repeated]
                differing = [
                    key for key in swept if len(_positions_by(runs.iloc[places], [key])) > 1
                ]
                raise ValueError(
                    f"{dict(group)} has several runs for one repetition, such as {names}. "
                    f"Give the group a value for {', '.join(differing) or 'another key'}, too."
                )
        column = runs[metric].to_numpy(dtype=float, na_value=math.nan)
        return {key: float(column[places[0]]) for key, places in by_repetition.items()}

    def _repeated(self, repeat: str | Sequence[str] | None) -> list[str]:
        names = self.attrs.get("repeat", REPEATED_BY_DEFAULT) if repeat is None else repeat
        names = [names] if isinstance(names, str) else list(names)
        keys = {str(column): key for key, column in self.attrs.get("swept", {}).items()}
        columns = {keys.get(column, column): column for column in map(str, self.columns)}
        if repeat is not None:
            for name in names:
                if not repeated_keys(list(columns), [name]):
                    raise KeyError(_unknown_column(name, list(self.columns)))
        return [columns[key] for key in repeated_keys(list(columns), names)]

    def _columns(self, names: str | Sequence[str] | None, kind: str) -> list[str]:
        if names is None:
            if kind not in self.attrs:
                raise KeyError(
                    "This frame no longer knows which of its columns are swept keys and metrics. "
                    "Name them: table(group_by=…, metrics=…)."
                )
            columns = self.attrs[kind]
            columns = columns.values() if isinstance(columns, dict) else columns
            return [column for column in columns if column in self.columns]
        names = [names] if isinstance(names, str) else list(names)
        for name in names:
            if name not in self.columns:
                raise KeyError(_unknown_column(name, list(self.columns)))
        return names

    def _warn_of_differences(self, groups: Groups, keys: list[str]) -> None:
        """Warn if the runs of a group are not repetitions of one configuration."""
        if "experiment" not in self.attrs or "path" not in self.columns:
            return
        folders = [Path(self.attrs["experiment"], str(path)) for path in self["path"]]
        warnings_by_text: dict[str, list[str]] = {}
        for positions in groups.values():
            members = [folders[position] for position in positions]
            differences = configuration_differences(members, self.attrs["swept"])
            if "continued" in self.columns:  # a run of 8 epochs in one go is another than 4 + 4
                trainings = dict.fromkeys(self["continued"].iloc[list(positions)].fillna("–"))
                if len(trainings) > 1:
                    differences["continued"] = tuple(trainings)
            if differences:
                labels = [str(_label(self[key].iloc[positions[0]])) for key in keys]
                group = ", ".join(labels) or "all runs"
                warnings_by_text.setdefault(differences_text(differences), []).append(group)
        for text, labels in warnings_by_text.items():
            shown = "; ".join(labels[:3]) + (f" and {len(labels) - 3} more" * (len(labels) > 3))
            warnings.warn(
                f"Means over runs whose configurations differ, not only in what is repeated: "
                f"{text}, in {shown}. Sweep these keys, or leave such runs out.",
                stacklevel=3,
            )


class Table(pd.DataFrame):
    """Means of metrics and their spread, one row per group. Made by `Results.table`."""

    @property
    def _constructor(self) -> Callable[..., Table]:
        return Table

    def text(self, digits: int = 3) -> pd.DataFrame:
        """The same as text, `0.981 ± 0.003 (n = 3)`; without ± if a group has one value.

        Args:
            digits: Digits after the point; two that count, where a value would look like zero.
        """
        cells = {
            metric: [
                f"{_cell(row, digits, ' ± ')} (n = {int(row['n'])})" for row in self._parts(metric)
            ]
            for metric in self._metrics()
        }
        return pd.DataFrame(cells, index=self.index)

    def to_latex(  # type: ignore[override]
        self,
        path: Path | None = None,
        *,
        digits: int = 3,
        bold: Mapping[str, str] | None = None,
    ) -> str:
        """A table for LaTeX's package booktabs, with all text escaped and n beside the means.

        Args:
            path: A file to write it to as well.
            digits: Digits after the point; two that count, where a value would look like zero.
            bold: Columns whose best mean is set in bold: metric → maximize or minimize. None:
                those of `expkit.metric`. A mean of one value is no best one beside means of
                several.

        Returns:
            The tabular environment; its first line, a comment, says what the cells show.

        Raises:
            KeyError: If `bold` names another column.
        """
        metrics = self._metrics()
        directions = dict(self.attrs.get("directions", {}) if bold is None else bold)
        for name in directions:
            if bold is not None and name not in metrics:
                raise KeyError(_unknown_column(name, metrics))
        columns: list[tuple[str, list[str]]] = []
        counts = [[str(int(row["n"])) for row in self._parts(metric)] for metric in metrics]
        is_shared = all(numbers == counts[0] for numbers in counts)
        for metric, numbers in zip(metrics, counts, strict=True):
            cells = self._latex_cells(metric, digits, directions.get(metric))
            columns.append((_escape(metric), cells))
            if not is_shared or metric == metrics[-1]:
                columns.append(("$n$", numbers))
        keys = [str(name) for name in self.index.names]
        lines = [
            f"% {SPREADS[str(self.attrs.get('spread', 'std'))]}",
            f"\\begin{{tabular}}{{{'l' * len(keys)}{'r' * len(columns)}}}",
            "\\toprule",
            _latex_row([*map(_escape, keys), *(header for header, _ in columns)]),
            "\\midrule",
        ]
        for row, label in enumerate(self.index):
            labels = label if isinstance(label, tuple) else (label,)
            texts = [_escape(str(part)) for part in labels]
            lines.append(_latex_row([*texts, *(cells[row] for _, cells in columns)]))
        text = "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text

    def _metrics(self) -> list[str]:
        return [str(column[0]) for column in self.columns if column[1] == "n"]

    def _parts(self, metric: str) -> list[dict[str, float]]:
        """What the columns of a metric hold, row by row: the mean or median first, n last."""
        columns = {str(name): self[column] for column in self.columns
                   if column[0] == metric and (name := column[1])}  # fmt: skip
        return [
            dict(zip(columns, map(float, row), strict=True))
            for row in zip(*columns.values(), strict=True)
        ]

    def _latex_cells(self, metric: str, digits: int, direction: str | None) -> list[str]:
        rows = self._parts(metric)
        centres = [next(iter(row.values())) for row in rows]
        most = max((row["n"] for row in rows), default=0)
        eligible = [
            centre
            for centre, row in zip(centres, rows, strict=True)
            if centre == centre and (row["n"] > 1 or most == 1)
        ]
        best = None
        if direction is not None and eligible:
            best = max(eligible) if direction == "maximize" else min(eligible)
        texts: list[str] = []
        for centre, row in zip(centres, rows, strict=True):
            text = _cell(row, digits, " \\pm ")
            is_best = centre == best and (row["n"] > 1 or most == 1)
            text = f"$\\mathbf{{{text}}}$" if is_best else f"${text}$"
            texts.append("--" if centre != centre else text)
        return texts


def results_frame(records: Sequence[RunRecord], experiment: Path) -> Results:
    """The runs as a frame that knows which of its columns are swept keys and metrics."""
    columns = Columns(records)
    frame = Results(list(columns.rows(experiment)), columns=columns.names)
    for key, column in columns.swept.items():
        values = [run.get(key, math.nan) for run in columns.values]
        if any(value is None or value is UNKNOWN or value is math.nan for value in values):
            # pandas would make one of None and NaN, and 4.0 of 4
            frame[column] = pd.Series(values, dtype=object)
    directions = {}
    for record in records:
        if record.best is not None:
            metric, direction = str(record.best.get("metric")), record.best.get("direction")
            for name in (columns.metrics.get(metric), columns.best.get(f"best_{metric}")):
                if name is not None:
                    directions[name] = direction
    frame.attrs = {
        "swept": columns.swept,
        "metrics": columns.measured,
        "directions": directions,
        "repeat": repeated_names(experiment, records),
        "experiment": str(Path(experiment).absolute()),
    }
    return frame


def metrics_frame(folders: Sequence[Path]) -> pd.DataFrame:
    """The metric histories of these run folders, one value per row."""
    rows = [
        (run.name, step, metric, value)
        for run in folders
        for step, values in metric_rows(run).items()
        for metric, value in values.items()
    ]
    return pd.DataFrame(rows, columns=["run_name", "step", "metric", "value"])


def run_metrics_frame(folder: Path) -> pd.DataFrame:
    """The metrics of one run: one row per step, one column per metric."""
    frame = pd.DataFrame.from_dict(metric_rows(folder), orient="index")
    return frame.rename_axis(index="step")


def _positions_by(runs: pd.DataFrame, keys: Sequence[str]) -> dict[tuple[str, ...], list[int]]:
    """The rows with equal values of these columns, by these values, in order of appearance."""
    identities = [[_identity(value) for value in runs[key]] for key in keys]
    positions: dict[tuple[str, ...], list[int]] = {}
    for position in range(len(runs)):
        values = tuple([column[position] for column in identities])
        positions.setdefault(values, []).append(position)
    return positions


def _repetitions(runs: pd.DataFrame, repeated: Sequence[str], groups: Groups) -> list[Repetition]:
    """For each run its values of the repeated keys, the outermost first.

    Keys that vary within no group are left out: with one seed, n counts folds.
    """
    identities = {key: [_identity(value) for value in runs[key]] for key in repeated}
    varying = [
        key
        for key, column in identities.items()
        if any(len({column[position] for position in group}) > 1 for group in groups.values())
    ]
    return [tuple(identities[key][position] for key in varying) for position in range(len(runs))]


def _identity(value: object) -> str:
    """Equal for values that are the same setting, as 1 and 1.0 are, and 1 and True are not."""
    if hasattr(value, "item"):  # numpy's numbers, in columns of pandas
        value = value.item()
    if isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < 2**53 else value
    return f"{type(value).__name__} {value!r}"


def _index(runs: pd.DataFrame, keys: Sequence[str], groups: Groups) -> pd.Index:
    first = [positions[0] for positions in groups.values()]
    if not keys:
        return pd.Index(["all"], name="runs")
    labels = [_labels([runs[key].iloc[position] for position in first]) for key in keys]
    if len(keys) == 1:
        return pd.Index(labels[0], name=keys[0])
    return pd.MultiIndex.from_arrays(labels, names=list(keys))


def _labels(values: Sequence[object]) -> list[object]:
    """What a table shows for these values; text is quoted where another value reads the same.

    Examples:
        >>> _labels([None, "None", 1, "cnn"])
        ['None', "'None'", 1, 'cnn']
    """
    labels = [_label(value) for value in values]
    identities: dict[str, set[str]] = {}
    for value, label in zip(values, labels, strict=True):
        identities.setdefault(str(label), set()).add(_identity(value))
    return [
        repr(value) if isinstance(value, str) and len(identities[value]) > 1 else label
        for value, label in zip(values, labels, strict=True)
    ]


def _label(value: object) -> object:
    if isinstance(value, float) and value != value:  # the run has no such key
        return "–"
    return str(value) if value is None or isinstance(value, (list, dict, Unknown)) else value


def _cell(row: Mapping[str, float], digits: int, sign: str) -> str:
    centre, *spread = [value for name, value in row.items() if name != "n"]
    digits = _decimals(centre, digits)
    text = f"{centre:.{digits}f}"
    if any(value != value for value in spread):
        return text
    if len(spread) == 1:
        return f"{text}{sign}{spread[0]:.{digits}f}"
    return f"{text} [{', '.join(f'{value:.{digits}f}' for value in spread)}]"


def _decimals(value: float, digits: int) -> int:
    """So many digits after the point that a value which is not zero does not look like it.

    Examples:
        >>> _decimals(0.981, 3), _decimals(0.00071, 3), _decimals(0.0, 3)
        (3, 5, 3)
    """
    if not 0 < abs(value) < 10.0**-digits:
        return digits
    return min(math.ceil(-math.log10(abs(value))) + 1, MOST_DECIMALS)


def _latex_row(cells: list[str]) -> str:
    return " & ".join(cells) + " \\\\"


_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "{": r"\{",
        "}": r"\}",
        "_": r"\_",
        "%": r"\%",
        "&": r"\&",
        "#": r"\#",
        "$": r"\$",
        "^": r"\textasciicircum{}",
        "~": r"\textasciitilde{}",
    }
)


def _escape(text: str) -> str:
    return text.translate(_LATEX)


def _unknown_column(name: str, columns: Sequence[object]) -> str:
    from difflib import get_close_matches

    names = [str(column) for column in columns]
    near = get_close_matches(name, names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"There is no column {name!r}.{hint} Known: {', '.join(names)}."
