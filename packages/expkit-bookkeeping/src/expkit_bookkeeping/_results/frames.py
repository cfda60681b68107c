"""The runs of an experiment as pandas frames. Imported only when somebody asks for one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

try:
    import pandas as pd
except ImportError as error:
    raise ImportError(
        "Results as DataFrame need pandas: pip install 'expkit-bookkeeping[pandas]'. Without it, "
        "result_rows() and write_results_csv() give the same rows."
    ) from error

from .._recording.metrics import metric_rows
from .columns import Columns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._runs.records import RunRecord


class Results(pd.DataFrame):
    """The runs of an experiment, one per row, with the columns of results.csv."""

    @property
    def _constructor(self) -> Callable[..., Results]:
        return Results

    def table(
        self,
        group_by: str | Sequence[str] | None = None,
        *,
        metrics: str | Sequence[str] | None = None,
        state: str | None = "completed",
    ) -> Table:
        """Mean and standard deviation of metrics over the runs of each group.

        Args:
            group_by: Columns that runs of one group share. None: all swept keys except `seed`.
            metrics: Columns to summarise. None: final and best values of all metrics.
            state: Runs to count; None: all.

        Returns:
            One row per group, in the order of first appearance. Columns (metric, mean) and
            (metric, std); the standard deviation is the sample's (n - 1) and NaN for one run.
            The column (runs, count) has the number of runs.

        Raises:
            KeyError: If there is no such column.
            ValueError: If there are no metrics, or no run to count.
        """
        keys = self._columns(group_by, "swept")
        if group_by is None:
            keys = [key for key in keys if key != "seed"]
        names = self._columns(metrics, "metrics")
        if not names:
            raise ValueError("No metrics to summarise: none of these runs has logged one.")
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
        plain = pd.DataFrame(runs)
        for key in keys:  # lists and None cannot be grouped by
            plain[key] = plain[key].map(_label)
        # one group for all if there is nothing to group by
        by = [plain[key] for key in keys] or [pd.Series("all", index=plain.index, name="runs")]
        groups = plain.groupby(by, sort=False, dropna=False)
        columns: dict[tuple[str, str], pd.Series] = {}
        for name in names:
            columns[name, "mean"] = groups[name].mean()
            columns[name, "std"] = groups[name].std()
        columns["runs", "count"] = groups.size()
        table = Table(columns)
        table.attrs = dict(self.attrs)
        return table

    def _columns(self, names: str | Sequence[str] | None, kind: str) -> list[str]:
        if names is None:
            if kind not in self.attrs:
                raise KeyError(
                    "This frame no longer knows which of its columns are swept keys and metrics. "
                    "Name them: table(group_by=…, metrics=…)."
                )
            return [column for column in self.attrs[kind] if column in self.columns]
        names = [names] if isinstance(names, str) else list(names)
        for name in names:
            if name not in self.columns:
                raise KeyError(_unknown_column(name, list(self.columns)))
        return names


class Table(pd.DataFrame):
    """Mean and standard deviation of metrics, one row per group. Made by `Results.table`."""

    @property
    def _constructor(self) -> Callable[..., Table]:
        return Table

    def text(self, digits: int = 3) -> pd.DataFrame:
        """The same as text, `0.981 ± 0.003`; without ± if a group has one run.

        Args:
            digits: Digits after the point.
        """
        cells = {
            metric: [_pair(mean, std, digits, " ± ") for mean, std in self._pairs(metric)]
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
        """A table for LaTeX's package booktabs, with all text escaped.

        Args:
            path: A file to write it to as well.
            digits: Digits after the point.
            bold: Columns whose best mean is set in bold: metric → maximize or minimize. None:
                those of `expkit.metric`.

        Returns:
            The tabular environment.

        Raises:
            KeyError: If `bold` names another column.
        """
        metrics = self._metrics()
        directions = dict(self.attrs.get("directions", {}) if bold is None else bold)
        for name in directions:
            if bold is not None and name not in metrics:
                raise KeyError(_unknown_column(name, metrics))
        keys = [str(name) for name in self.index.names]
        lines = [
            f"\\begin{{tabular}}{{{'l' * len(keys)}{'r' * len(metrics)}}}",
            "\\toprule",
            _latex_row([_escape(name) for name in [*keys, *metrics]]),
            "\\midrule",
        ]
        cells = [self._latex_cells(metric, digits, directions.get(metric)) for metric in metrics]
        for row, label in enumerate(self.index):
            labels = label if isinstance(label, tuple) else (label,)
            texts = [_escape(str(part)) for part in labels]
            lines.append(_latex_row(texts + [column[row] for column in cells]))
        text = "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text

    def _metrics(self) -> list[str]:
        return [str(column[0]) for column in self.columns if column[1] == "mean"]

    def _pairs(self, metric: str) -> list[tuple[float, float]]:
        means, stds = self[(metric, "mean")], self[(metric, "std")]
        return [(float(mean), float(std)) for mean, std in zip(means, stds, strict=True)]

    def _latex_cells(self, metric: str, digits: int, direction: str | None) -> list[str]:
        pairs = self._pairs(metric)
        means = [mean for mean, _ in pairs if mean == mean]
        best = None
        if direction is not None and means:
            best = max(means) if direction == "maximize" else min(means)
        texts = []
        for mean, std in pairs:
            text = _pair(mean, std, digits, " \\pm ")
            text = f"$\\mathbf{{{text}}}$" if mean == best else f"${text}$"
            texts.append("--" if mean != mean else text)
        return texts


def results_frame(records: Sequence[RunRecord], experiment: Path) -> Results:
    """The runs as a frame that knows which of its columns are swept keys and metrics."""
    columns = Columns.of(records)
    frame = Results(columns.rows(records, experiment), columns=columns.names)
    directions = {}
    for record in records:
        if record.best is not None:
            metric, direction = str(record.best.get("metric")), record.best.get("direction")
            for column in (columns.metrics.get(metric), columns.best.get(f"best_{metric}")):
                if column is not None:
                    directions[column] = direction
    frame.attrs = {
        "swept": list(columns.swept.values()),
        "metrics": [*columns.metrics.values(), *columns.best.values()],
        "directions": directions,
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


def _label(value: object) -> object:
    if value is None or isinstance(value, (list, dict)):
        return str(value)
    return value


def _pair(mean: float, std: float, digits: int, sign: str) -> str:
    text = f"{mean:.{digits}f}"
    return text if std != std else f"{text}{sign}{std:.{digits}f}"


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
