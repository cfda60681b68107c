"""Escaping text, so that LaTeX and mathtext draw exactly its characters."""

import unicodedata
from collections.abc import Iterable

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\ensuremath{\sim}",  # \textasciitilde is an accent, too high and too small
    "<": r"\ensuremath{<}",
    ">": r"\ensuremath{>}",
    "|": r"\ensuremath{|}",
    '"': r"\textquotedblright{}",
    "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}",
    "-": r"-{}",  # two in a row would become a dash
    "±": r"\ensuremath{\pm}",
    "×": r"\ensuremath{\times}",
    "·": r"\ensuremath{\cdot}",
    "−": r"\ensuremath{-}",
    "µ": r"\ensuremath{\mu}",
    "°": r"\ensuremath{^\circ}",
    "²": r"\ensuremath{^2}",
    "³": r"\ensuremath{^3}",
    "→": r"\ensuremath{\rightarrow}",
    "←": r"\ensuremath{\leftarrow}",
    "≤": r"\ensuremath{\leq}",
    "≥": r"\ensuremath{\geq}",
    "≠": r"\ensuremath{\neq}",
    "≈": r"\ensuremath{\approx}",
    "∞": r"\ensuremath{\infty}",
    "√": r"\ensuremath{\surd}",
    "∑": r"\ensuremath{\sum}",
    "∇": r"\ensuremath{\nabla}",
    "…": r"\ldots{}",
    "–": r"\textendash{}",
    "—": r"\textemdash{}",
    "‘": r"\textquoteleft{}",
    "’": r"\textquoteright{}",
    "“": r"\textquotedblleft{}",
    "”": r"\textquotedblright{}",
    "\u00a0": r"\ ",
}
# Letters whose small and capital forms are LaTeX commands.
_GREEK = {
    **{"α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "varepsilon", "ζ": "zeta"},
    **{"η": "eta", "θ": "theta", "ι": "iota", "κ": "kappa", "λ": "lambda", "μ": "mu"},
    **{"ν": "nu", "ξ": "xi", "π": "pi", "ρ": "rho", "σ": "sigma", "τ": "tau"},
    **{"υ": "upsilon", "φ": "varphi", "χ": "chi", "ψ": "psi", "ω": "omega"},
    **{"Γ": "Gamma", "Δ": "Delta", "Θ": "Theta", "Λ": "Lambda", "Ξ": "Xi", "Π": "Pi"},
    **{"Σ": "Sigma", "Φ": "Phi", "Ψ": "Psi", "Ω": "Omega"},
}
_LINES, _CENTRED_LINES = r"\begin{tabular}{@{}l@{}}", r"\begin{tabular}{@{}c@{}}"
# Letters between À and ž that the preamble of matplotlib (font encoding OT1) cannot draw.
_NOT_IN_OT1 = frozenset("ÐÞðþĄąĐđĘęĦħĮįĸĿŀŉŊŋŦŧŲų")


def escape(text: str, *, latex: bool) -> str:
    r"""`text`, escaped so that matplotlib draws exactly these characters.

    >>> print(escape("val_loss at 50%", latex=True), escape("5 $", latex=False))
    val\_loss at 50\% 5 \$
    """
    text = "".join(map(_drawable, text))
    if not latex:
        return text.replace("$", r"\$")  # an even number of $ would become mathtext
    lines = ["".join(_latex_characters(line)) for line in text.split("\n")]
    if len(lines) == 1:
        return lines[0]
    # Lines that matplotlib sets itself touch each other. {}: a line may begin with [ or *.
    table = r"\\{}".join(lines)
    return rf"{_LINES}{table}\end{{tabular}}"


def centred(escaped: str) -> str:
    """The lines of an escaped text centred, as mathtext has those of an axis' name."""
    return escaped.replace(_LINES, _CENTRED_LINES, 1)


def _drawable(character: str) -> str:
    """No font has control characters, and neither SVG nor PDF can hold half a surrogate pair."""
    kind = unicodedata.category(character)
    if kind == "Cc" and character != "\n":
        return " "
    return "?" if kind == "Cs" else character


def _latex_characters(text: str) -> Iterable[str]:
    for character in unicodedata.normalize("NFC", text):
        if character in _LATEX:
            yield _LATEX[character]
        elif character in _GREEK:
            yield rf"\ensuremath{{\{_GREEK[character]}}}"
        elif " " <= character <= "\x7e" or (
            "À" <= character <= "ž" and character not in _NOT_IN_OT1
        ):
            yield character
        else:
            # LaTeX's fonts have no glyph and would stop; its nearest ASCII form, or a mark.
            letters = [
                letter
                for letter in unicodedata.normalize("NFKD", character)
                if " " <= letter <= "\x7e"
            ]
            yield "".join(_LATEX.get(letter, letter) for letter in letters) or "?"
