"""Does LaTeX work here? One real attempt, whose outcome is kept for this host."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .._data.files import write_atomically

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .keys import PlotStyle

ALWAYS_NEEDED = ("latex", "kpsewhich")
# matplotlib 3.11 draws PNGs without dvipng, unless its rcParam text.latex.engine asks for it;
# the attempt shows whether it is missed.
PROGRAMS = (*ALWAYS_NEEDED, "dvipng")
FAILURE_VALID_S = 3600  # a user's own TeX tree may get a package without a trace that we see
INSTALL = (
    "Debian and Ubuntu: apt install texlive-latex-extra cm-super dvipng. NixOS: see the README "
    "of expkit-plotting. To silence this warning, set latex: false."
)


@dataclass(frozen=True)
class LatexSupport:
    """Whether LaTeX works here, and if not, what is missing."""

    works: bool
    missing: str = ""

    @property
    def advice(self) -> str:
        """One sentence for the user: what is missing, and how to install it."""
        return f"LaTeX cannot be used ({self.missing}); mathtext draws the text. {INSTALL}"


_support_by_key: dict[str, LatexSupport] = {}
_advice_given: set[str] = set()  # once per process, not once per figure


def latex_or_warning(style: PlotStyle) -> bool:
    """Whether LaTeX works here; if not, says why and what to install, once per process."""
    support = probe_latex(style)
    if not support.works and support.advice not in _advice_given:
        _advice_given.add(support.advice)
        warnings.warn(support.advice, stacklevel=5)
    return support.works


def probe_latex(
    style: PlotStyle,
    *,
    cache: Path | None = None,
    environ: Mapping[str, str] | None = None,
    clock: Callable[[], float] = time.time,
) -> LatexSupport:
    """Whether LaTeX, dvipng and the fonts can draw this style's text.

    Draws one text into a PNG and a PDF, the first time on this host; afterwards the outcome is
    read from the cache until a program, the TeX tree or the style's preamble changes.

    Args:
        style: Its fonts and preamble are tried.
        cache: The file to remember outcomes in.
        environ: Where PATH and XDG_CACHE_HOME are looked up; by default this process's.
        clock: Seconds since the epoch; failures are tried again after an hour.
    """
    environ = os.environ if environ is None else environ
    paths = {name: shutil.which(name, path=environ.get("PATH")) for name in PROGRAMS}
    absent = [name for name in ALWAYS_NEEDED if paths[name] is None]
    if absent:
        return LatexSupport(False, f"not on PATH: {', '.join(absent)}")
    key = _cache_key(paths, style)
    if key in _support_by_key:
        return _support_by_key[key]
    file = cache or cache_file(environ)
    outcomes = _read(file)
    entry = outcomes.get(key)
    if isinstance(entry, dict) and (
        entry.get("works") or clock() - float(entry.get("time", 0)) < FAILURE_VALID_S
    ):
        support = LatexSupport(bool(entry["works"]), str(entry.get("missing", "")))
    else:
        support = try_latex(style)
        outcomes[key] = {"works": support.works, "missing": support.missing, "time": clock()}
        with contextlib.suppress(OSError):  # a home that cannot be written costs a second
            write_atomically(file, json.dumps(outcomes, indent=1).encode())
    _support_by_key[key] = support
    return support


def cache_file(environ: Mapping[str, str] | None = None) -> Path:
    """Where this host's outcomes are kept."""
    environ = os.environ if environ is None else environ
    root = environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root, "expkit", f"latex-{socket.gethostname()}.json")


def _cache_key(paths: Mapping[str, str | None], style: PlotStyle) -> str:
    import matplotlib

    facts: list[object] = [matplotlib.__version__]
    for path in [*paths.values(), *_tex_trees(str(paths["kpsewhich"]))]:
        try:
            status = Path(str(path)).stat()
            facts += [path, status.st_mtime_ns, status.st_size]
        except OSError:
            facts += [path, None]
    fonts = {
        key: value for key, value in style.rcParams.items() if key.startswith(("font", "text"))
    }
    facts.append(sorted(fonts.items()))
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def _tex_trees(kpsewhich: str) -> list[str]:
    """Indices of the TeX trees; installing a package changes them."""
    try:
        listing = subprocess.run(
            [kpsewhich, "--all", "ls-R"], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return listing.stdout.split()


def _read(file: Path) -> dict[str, object]:
    try:
        outcomes = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return outcomes if isinstance(outcomes, dict) else {}


def try_latex(style: PlotStyle) -> LatexSupport:
    """Draw a text that needs what figures need: letters, digits, a minus sign, mathematics."""
    import io
    import uuid

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from .rc_layer import rc_layer
    from .rc_parameters import rc_parameters

    parameters = rc_parameters(style, latex=True)
    try:
        with rc_layer(parameters):
            figure = Figure(figsize=(3, 0.5))
            FigureCanvasAgg(figure)
            # Never seen before, so that matplotlib's cache of rendered texts cannot answer.
            unique = uuid.uuid4().hex[:8]
            figure.text(0.1, 0.2, rf"Probe\_{unique} é \textbf{{b}} $10^{{-3}}\mathdefault{{−1}}$")
            for filetype in ("png", "pdf"):
                figure.savefig(io.BytesIO(), format=filetype, dpi=50)
    except Exception as error:  # whatever goes wrong, figures must still be drawn
        return LatexSupport(False, explain_failure(str(error)))
    return LatexSupport(True)


def explain_failure(error: str) -> str:
    """What is missing, from what matplotlib raised.

    Examples:
        >>> explain_failure("... ! LaTeX Error: File `type1cm.sty' not found. ...")
        'the LaTeX file type1cm.sty (package texlive-latex-extra)'
        >>> explain_failure("Package matplotlib-support Error: Missing cm-super package, required")
        'the fonts of cm-super'
    """
    # The log also lists files that were found, so their names alone say nothing.
    if "Missing cm-super" in error:
        return "the fonts of cm-super"
    if match := re.search(r"File [`'](\S+?)' not found", error):
        return f"the LaTeX file {match[1]} (package texlive-latex-extra)"
    if match := re.search(r"(?:font file|PostScript font|TeX font|Font) *['`]?([\w.-]+)", error):
        return f"the font {match[1]} (packages texlive-fonts-recommended and cm-super)"
    if match := re.search(r"because (\w+) could not be found", error):
        return f"not on PATH: {match[1]}"
    lines = [line for line in error.splitlines() if line.startswith("!")] or error.splitlines()
    return f"it fails with {lines[0][:200]!r}" if lines else "it fails without a message"
