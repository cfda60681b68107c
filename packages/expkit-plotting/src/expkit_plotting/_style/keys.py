"""`PlotStyle`: what a style file may say, checked before anything is drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from os import PathLike

from .._data.errors import PlottingError, near_match
from .palette import check_palette

CONTEXTS = ("paper", "notebook", "talk", "poster")
FILETYPES = ("png", "pdf", "svg", "eps", "ps", "jpg", "tif", "webp")
POINTS_PER_INCH = 72.27  # TeX's points; PostScript's are 72
LARGEST_IN = 60.0  # above, a number was probably meant as centimetres or pixels

# rcParams that have a key of their own, or that would reach beyond the figure.
_OWN_KEYS = {
    "text.usetex": "latex",
    "figure.figsize": "figsize",
    "figure.dpi": "dpi",
    "savefig.dpi": "dpi",
    "savefig.format": "filetypes",
    "axes.prop_cycle": "palette",
}
PROCESS_WIDE = (
    *("backend", "backend_fallback", "interactive", "toolbar", "timezone", "date.epoch"),
    *("docstring.hardcopy", "figure.max_open_warning", "figure.raise_window"),
    *("savefig.directory", "tk.window_focus", "webagg.address", "webagg.open_in_browser"),
    *("webagg.port", "webagg.port_retries"),
)


@dataclass(frozen=True)
class PlotStyle:
    r"""How figures look and into which files they go.

    Attributes:
        figsize: Width and height; in inches, or, where `textwidth_pt` is set, both as
            fractions of the text's width: `(1.0, 0.62)` fills the column.
        latex: Draw text with LaTeX where it works, else with mathtext.
        filetypes: Suffixes of the files that `save` writes.
        pickle: Also write the figure's pickle, its data (CSV) and its recipe (JSON).
        context: seaborn's scale of fonts and lines: paper, notebook, talk or poster.
        palette: Name of a seaborn palette or matplotlib colormap, or colours.
        replace_none: Show `None` in legends as `~`: `Some_Run~~1`.
        rcParams: matplotlib's rcParams that override all others.
        add_titles: Draw titles.
        add_xlabels: Label x axes.
        add_ylabels: Label y axes.
        dpi: Dots per inch of files that hold pixels.
        textwidth_pt: Width of the text in TeX points (what `\the\textwidth` prints).

    Raises:
        PlottingError: If a value has a wrong type or is out of range.

    Examples:
        >>> PlotStyle(figsize=(0.5, 0.31), textwidth_pt=361.35).size_in
        (2.5, 1.55)
    """

    figsize: tuple[float, float] = (6.4, 4.0)
    latex: bool = False
    filetypes: tuple[str, ...] = ("png", "pdf")
    pickle: bool = False
    context: str = "notebook"
    palette: str | tuple[str, ...] = "colorblind"
    replace_none: bool = False
    rcParams: Mapping[str, object] = field(default_factory=dict)
    add_titles: bool = True
    add_xlabels: bool = True
    add_ylabels: bool = True
    dpi: int = 200
    textwidth_pt: float | None = None

    def __post_init__(self) -> None:
        for switch in _SWITCHES:
            _check_switch(switch, getattr(self, switch))
        object.__setattr__(self, "textwidth_pt", _checked_textwidth(self.textwidth_pt))
        object.__setattr__(self, "figsize", _checked_figsize(self.figsize, self.textwidth_pt))
        object.__setattr__(self, "filetypes", _checked_filetypes(self.filetypes))
        object.__setattr__(self, "palette", check_palette(self.palette))
        object.__setattr__(self, "dpi", _checked_dpi(self.dpi))
        object.__setattr__(self, "rcParams", _checked_rc_params(self.rcParams))
        if self.context not in CONTEXTS:
            raise PlottingError(
                f"context must be one of {', '.join(CONTEXTS)}; got {self.context!r:.80}."
                f"{near_match(self.context, CONTEXTS)}"
            )

    @property
    def size_in(self) -> tuple[float, float]:
        """Width and height in inches."""
        width, height = self.figsize
        if self.textwidth_pt is None:
            return width, height
        unit = self.textwidth_pt / POINTS_PER_INCH
        return round(width * unit, 6), round(height * unit, 6)

    def to_dict(self) -> dict[str, object]:
        """The style as plain values, as a YAML file would hold it."""
        plain: dict[str, object] = {key.name: getattr(self, key.name) for key in fields(self)}
        plain["figsize"] = list(self.figsize)
        plain["filetypes"] = list(self.filetypes)
        plain["palette"] = self.palette if isinstance(self.palette, str) else list(self.palette)
        plain["rcParams"] = dict(self.rcParams)
        return plain

    @classmethod
    def from_mapping(cls, values: Mapping[str, object], *, origin: str = "style") -> PlotStyle:
        """A style from a mapping with its keys, such as `cfg.plotting`.

        A key that is missing takes the value shown in the class's signature.

        Args:
            values: Keys and values, such as a dict or a `DictConfig`.
            origin: What the error names, usually the file.

        Raises:
            PlottingError: For an unknown key or a wrong value, with `origin` and the near match.
        """
        allowed = [key.name for key in fields(cls)]
        for key in values:
            if key not in allowed:
                raise PlottingError(
                    f"{origin}: unknown key {key!r}.{near_match(key, allowed)} "
                    f"Allowed: {', '.join(allowed)}."
                )
        try:
            plain = {key: _plain(values[key]) for key in values}
            return cls(**plain)  # type: ignore[arg-type]  # checked in __post_init__
        except PlottingError as error:
            raise PlottingError(f"{origin}: {error}") from None

    @classmethod
    def load(cls, style: str | PathLike[str], *, start: Sequence[PathLike[str]] = ()) -> PlotStyle:
        """A style by name or from a YAML file; its `defaults:` are resolved without Hydra.

        Args:
            style: `Default`, `Thesis`, the name of a file in `conf/plotting/`, or a path that
                ends in `.yaml`.
            start: Folders from which to look upward for `conf/plotting/`, after the working
                directory.

        Raises:
            PlottingError: If there is no such style or its content is wrong.
        """
        from .yaml_files import load_style

        values, origin = load_style(style, start=start)
        return cls.from_mapping(values, origin=origin)


_SWITCHES = ("latex", "pickle", "replace_none", "add_titles", "add_xlabels", "add_ylabels")


def _plain(value: object) -> object:
    """Lists and dicts instead of OmegaConf's containers or tuples."""
    if isinstance(value, Mapping):
        return {str(key): _plain(value[key]) for key in value}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [_plain(item) for item in value]
    return value


def _is_number(value: object) -> bool:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an int beyond any float
        return False


def _check_switch(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise PlottingError(f"{name} must be true or false; got {value!r:.80}.")


def _checked_textwidth(value: object) -> float | None:
    if value is None:
        return None
    if not isinstance(value, (int, float)) or not _is_number(value) or value <= 0:
        raise PlottingError(
            f"textwidth_pt must be a positive number of TeX points or null; got {value!r:.80}."
        )
    return float(value)


def _checked_figsize(value: object, textwidth_pt: float | None) -> tuple[float, float]:
    sizes = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []
    if len(sizes) != 2 or not all(_is_number(size) and size > 0 for size in sizes):
        raise PlottingError(
            f"figsize must be two positive numbers, [width, height]; got {value!r:.80}."
        )
    width, height = float(sizes[0]), float(sizes[1])
    # More than half as wide again as the text is a mistake: probably inches, inherited into a
    # style that sets textwidth_pt.
    if textwidth_pt is not None and width > 1.5:
        raise PlottingError(
            f"figsize {[width, height]} is in widths of the text because textwidth_pt is "
            f"{textwidth_pt:g}; that is {width * textwidth_pt / POINTS_PER_INCH:.1f} in wide. "
            "Give fractions such as [1.0, 0.62], or set textwidth_pt: null for inches."
        )
    if max(width, height) > LARGEST_IN:
        raise PlottingError(
            f"figsize is in inches and may be at most {LARGEST_IN:g}; got {[width, height]}."
        )
    return width, height


def _checked_filetypes(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        raise PlottingError(f"filetypes must be a list, such as [{value}]; got {value!r:.80}.")
    if not isinstance(value, Sequence) or not value:
        raise PlottingError(
            f"filetypes must be a list with at least one suffix; got {value!r:.80}."
        )
    for suffix in value:
        if suffix not in FILETYPES:
            raise PlottingError(
                f"filetypes may hold {', '.join(FILETYPES)}; got {suffix!r:.80}."
                f"{near_match(str(suffix).lstrip('.'), FILETYPES)}"
            )
    return tuple(dict.fromkeys(value))


def _checked_dpi(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 10 <= value <= 2400:
        raise PlottingError(f"dpi must be a whole number from 10 to 2400; got {value!r:.80}.")
    return value


def _checked_rc_params(parameters: object) -> dict[str, object]:
    if not isinstance(parameters, Mapping):
        raise PlottingError(
            f"rcParams must be a mapping of matplotlib's rcParams; got {parameters!r:.80}."
        )
    if not parameters:
        return {}
    import matplotlib

    validate = matplotlib.RcParams.validate
    checked: dict[str, object] = {}
    for key, value in parameters.items():
        if key in _OWN_KEYS:
            raise PlottingError(f"rcParams may not hold {key!r}; use the key {_OWN_KEYS[key]!r}.")
        if key in PROCESS_WIDE:
            raise PlottingError(
                f"rcParams may not hold {key!r}: it belongs to the process, not to a figure."
            )
        if key not in validate:
            raise PlottingError(
                f"rcParams: matplotlib has no rcParam {key!r}.{near_match(key, validate)}"
            )
        try:
            validate[key](value)
        except (ValueError, TypeError) as error:
            raise PlottingError(f"rcParams: {key}: {error}") from None
        checked[str(key)] = value
    return checked
