"""A style as matplotlib's rcParams."""

from __future__ import annotations

from .background import background_parameters
from .keys import PROCESS_WIDE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .keys import PlotStyle

# seaborn.plotting_context (0.13.2), repeated because importing seaborn takes longer than
# drawing; a test compares them. Each value is scaled by the context's factor.
CONTEXT_SCALES = {"paper": 0.8, "notebook": 1.0, "talk": 1.5, "poster": 2.0}
CONTEXT = {
    "font.size": 12.0,
    "axes.labelsize": 12.0,
    "axes.titlesize": 12.0,
    "xtick.labelsize": 11.0,
    "ytick.labelsize": 11.0,
    "legend.fontsize": 11.0,
    "legend.title_fontsize": 12.0,
    "axes.linewidth": 1.25,
    "grid.linewidth": 1.0,
    "lines.linewidth": 1.5,
    "lines.markersize": 6.0,
    "patch.linewidth": 1.0,
    "xtick.major.width": 1.25,
    "ytick.major.width": 1.25,
    "xtick.minor.width": 1.0,
    "ytick.minor.width": 1.0,
    "xtick.major.size": 6.0,
    "ytick.major.size": 6.0,
    "xtick.minor.size": 4.0,
    "ytick.minor.size": 4.0,
}
# What every figure of ours has, whatever its style, unless the style's rcParams say otherwise.
OUR_DEFAULTS: Mapping[str, object] = {
    "svg.hashsalt": "expkit",  # equal data, equal file
    "axes.axisbelow": True,
    "axes.formatter.limits": (-3, 5),
    "axes.formatter.useoffset": False,  # 0.9991, not 1e-4 with +9.99e-1 above the axis
    "axes.xmargin": 0.02,
    "legend.frameon": False,
    "legend.borderaxespad": 0.4,
    "legend.handlelength": 1.8,
    "legend.handletextpad": 0.6,
    "legend.labelspacing": 0.35,
    "legend.columnspacing": 1.4,
    "mathtext.default": "regular",
    # With hinting, a text's width differs from one dpi to the next, and from PDF, by up to 7 %.
    "text.hinting": "none",
    "pdf.fonttype": 42,  # TrueType; many publishers refuse matplotlib's default, Type 3
    "ps.fonttype": 42,
}


def rc_parameters(style: PlotStyle, *, latex: bool) -> dict[str, object]:
    """All rcParams with which a figure of this style is drawn and saved.

    They are complete, so that neither the user's matplotlibrc nor changes of the global
    rcParams show in the figure: the same recipe gives the same picture everywhere.

    Args:
        style: The style.
        latex: Whether LaTeX draws the text; the caller has tried it.
    """
    import matplotlib

    defaults = matplotlib.rcParamsDefault
    validate: Mapping[str, Callable[[object], object]] = matplotlib.RcParams.validate
    # `_get` is documented as stable; plain indexing would resolve the backend.
    parameters: dict[str, object] = {
        str(key): defaults._get(key) for key in defaults if key not in PROCESS_WIDE
    }
    scale = CONTEXT_SCALES[style.context]
    overrides: dict[str, object] = {key: value * scale for key, value in CONTEXT.items()}
    overrides |= OUR_DEFAULTS
    overrides |= background_parameters(style.rcParams)
    overrides |= style.rcParams
    overrides.setdefault("figure.titlesize", overrides["axes.titlesize"])
    overrides["text.usetex"] = latex
    overrides["savefig.dpi"] = style.dpi
    for key, value in overrides.items():
        parameters[key] = validate[key](value)
    if not latex:
        _keep_installed_fonts(parameters)
    return parameters


def _keep_installed_fonts(parameters: dict[str, object]) -> None:
    """Leave out fonts that are not installed: matplotlib warns of each, at every text."""
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    for family in ("serif", "sans-serif", "monospace"):
        names = parameters[f"font.{family}"]
        assert isinstance(names, list)
        parameters[f"font.{family}"] = [name for name in names if name in installed] or [
            "DejaVu Sans"
        ]
