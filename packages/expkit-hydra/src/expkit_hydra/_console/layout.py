"""Tables that fit the terminal: no name is broken, and what has no room is left out and named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from rich.console import Console, Group

GAP = 2  # between two columns
LEAST_SENTENCE = 20  # to which a column of sentences may be folded


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        header: Its name; may be folded between words.
        short_header: What stands there instead where the name has no room; a line explains it.
        cells: A text for each row.
        rank: 0 for a column that always stays; of the others the highest goes first where the
            terminal is too narrow for all.
        is_number: Whether its cells stand at the right.
        is_sentence: Whether its cells may be folded; those of other columns never are.
        styles: A style of rich's for each cell; empty: none.
    """

    header: str
    cells: Sequence[str]
    rank: int = 0
    is_number: bool = False
    is_sentence: bool = False
    styles: Sequence[str] = ()
    short_header: str | None = None


def print_fitted(screen: Console, table: Group) -> None:
    """Print what `fitted_table` returns.

    A row whose name is wider than the screen runs over its edge, so that it can be copied.
    """
    screen.print(table, crop=False)


def fitted_table(
    columns: Sequence[Column],
    *,
    width: int,
    row_styles: Sequence[str | None] = (),
    elsewhere: str | None = None,
) -> Group:
    """A table, and a line that names the columns for which there was no room.

    Args:
        columns: All columns; those without any text are left out, and not named.
        width: Of the terminal.
        row_styles: A style of rich's for each row; empty: none.
        elsewhere: What shows all columns, for that line.
    """
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    columns = [_printable(column) for column in columns if column.rank == 0 or any(column.cells)]
    widths = fitted_widths(columns, width)
    headers = {index: _header(columns[index], size) for index, size in widths.items()}
    table = Table(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, GAP - 1, 0, 0),
        width=sum(widths.values()) + GAP * (len(widths) - 1),
    )  # fmt: skip
    for index, size in widths.items():
        justify: Literal["left", "right"] = "right" if columns[index].is_number else "left"
        table.add_column(Text(headers[index]), justify=justify, width=size, overflow="fold")
    for row in range(len(columns[0].cells)):
        cells = [
            Text(columns[index].cells[row], style=styles[row] if styles else "")
            for index in widths
            for styles in [columns[index].styles]
        ]
        table.add_row(*cells, style=row_styles[row] if row_styles else None)
    names = {header: columns[index].header for index, header in headers.items()}
    lines = [f"{short}: {full}" for short, full in names.items() if short != full]
    hidden = [column.header for index, column in enumerate(columns) if index not in widths]
    if hidden:
        place = f" ({elsewhere})" if elsewhere else ""
        lines.append(f"no room at {width} columns for: {', '.join(hidden)}{place}")
    return Group(table, *(Text(line, style="dim") for line in lines))


def fitted_widths(columns: Sequence[Column], width: int) -> Mapping[int, int]:
    """The widths of the columns that fit, by their positions.

    Where one of numbers or names has no room, none of a higher rank is shown either: a step says
    nothing without its value.
    """
    room = width + GAP
    chosen = []
    for index in sorted(range(len(columns)), key=lambda index: columns[index].rank):
        least, _ = _widths(columns[index])
        if columns[index].rank > 0 and least + GAP > room:
            if columns[index].is_sentence:
                continue
            break
        chosen.append(index)
        room -= least + GAP
    widths = {}
    # Sentences last: they take whatever they are given.
    for index in sorted(chosen, key=lambda index: columns[index].is_sentence):
        least, wanted = _widths(columns[index])
        widths[index] = least + max(0, min(room, wanted - least))
        room -= widths[index] - least
    return dict(sorted(widths.items()))


def _widths(column: Column) -> tuple[int, int]:
    """The least width of a column, and the one at which nothing in it is folded."""
    content = max(map(text_width, column.cells), default=0)
    least = min(content, LEAST_SENTENCE) if column.is_sentence else content
    header = column.header if column.short_header is None else column.short_header
    return max(least, _longest_word(header)), max(content, text_width(column.header))


def _header(column: Column, width: int) -> str:
    if column.short_header is not None and _longest_word(column.header) > width:
        return column.short_header
    return column.header


def _longest_word(text: str) -> int:
    return max(map(text_width, text.split()), default=0)


def _printable(column: Column) -> Column:
    short = None if column.short_header is None else cell_text(column.short_header)
    cells = [cell_text(cell) for cell in column.cells]
    return replace(column, header=cell_text(column.header), short_header=short, cells=cells)


def cell_text(text: str) -> str:
    r"""Text as a table shows it: in one line, with escapes for control characters.

    Examples:
        >>> cell_text("a\nb\x1b[2J")
        'a\\nb\\x1b[2J'
    """
    from expkit_bookkeeping.launching import printable

    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def text_width(text: str) -> int:
    """Columns of a terminal that a text takes: two for a Chinese character."""
    from rich.cells import cell_len

    return cell_len(text)
