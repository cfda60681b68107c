"""Escaping text, so that LaTeX and mathtext draw exactly its characters."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator

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
    "−": r"\ensuremath{-}",
    "‐": r"-{}",
    "°": r"\ensuremath{^\circ}",
    "′": r"\ensuremath{^\prime}",
    "⁄": "/",
    "∕": "/",
    "‖": r"\ensuremath{\|}",
    "«": r"\ensuremath{\scriptscriptstyle\ll}",
    "»": r"\ensuremath{\scriptscriptstyle\gg}",
    "…": r"\ldots{}",
    "‒": r"\textendash{}",
    "–": r"\textendash{}",
    "—": r"\textemdash{}",
    "‘": r"\textquoteleft{}",
    "’": r"\textquoteright{}",
    "“": r"\textquotedblleft{}",
    "”": r"\textquotedblright{}",
    "•": r"\textbullet{}",
    "†": r"\dag{}",
    "‡": r"\ddag{}",
    "§": r"\S{}",
    "¶": r"\P{}",
    "©": r"\textcopyright{}",
    "®": r"\textregistered{}",
    "£": r"\textsterling{}",
    "€": r"\texteuro{}",
    "‰": r"\textperthousand{}",
    "¡": r"\textexclamdown{}",
    "¿": r"\textquestiondown{}",
    "\u00a0": r"\ ",
}
# Commands of LaTeX's mathematics.
_MATHEMATICS = {
    **{"α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "varepsilon", "ζ": "zeta"},
    **{"η": "eta", "θ": "theta", "ι": "iota", "κ": "kappa", "λ": "lambda", "μ": "mu", "µ": "mu"},
    **{"ν": "nu", "ξ": "xi", "π": "pi", "ρ": "rho", "σ": "sigma", "ς": "varsigma", "τ": "tau"},
    **{"υ": "upsilon", "φ": "varphi", "χ": "chi", "ψ": "psi", "ω": "omega"},
    **{"ϵ": "epsilon", "ϕ": "phi", "ϑ": "vartheta", "ϱ": "varrho"},
    **{"Γ": "Gamma", "Δ": "Delta", "Θ": "Theta", "Λ": "Lambda", "Ξ": "Xi", "Π": "Pi"},
    **{"Σ": "Sigma", "Υ": "Upsilon", "Φ": "Phi", "Ψ": "Psi", "Ω": "Omega"},
    **{"±": "pm", "∓": "mp", "×": "times", "÷": "div", "·": "cdot", "⋅": "cdot", "∗": "ast"},
    **{"∘": "circ", "∙": "bullet", "⊕": "oplus", "⊗": "otimes", "⊙": "odot", "√": "surd"},
    **{"≤": "leq", "≥": "geq", "≠": "neq", "≈": "approx", "≡": "equiv", "≃": "simeq"},
    **{"∼": "sim", "≪": "ll", "≫": "gg", "∝": "propto", "∞": "infty", "ℓ": "ell"},
    **{"→": "rightarrow", "←": "leftarrow", "↔": "leftrightarrow", "↑": "uparrow"},
    **{"↓": "downarrow", "⇒": "Rightarrow", "⇐": "Leftarrow", "⇔": "Leftrightarrow"},
    **{"∑": "sum", "∏": "prod", "∫": "int", "∂": "partial", "∇": "nabla", "∀": "forall"},
    **{"∃": "exists", "∈": "in", "∉": "notin", "∅": "emptyset", "∪": "cup", "∩": "cap"},
    **{"⊂": "subset", "⊆": "subseteq", "∧": "wedge", "∨": "vee", "¬": "neg", "⊥": "perp"},
    **{"⟨": "langle", "⟩": "rangle", "⌊": "lfloor", "⌋": "rfloor", "⌈": "lceil", "⌉": "rceil"},
}
_ACCENTS = {
    **{"\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u "},
    **{"\u0307": ".", "\u0308": '"', "\u030a": "r ", "\u030b": "H ", "\u030c": "v "},
    **{"\u0323": "d ", "\u0327": "c ", "\u0331": "b "},
}
_MATHEMATICAL_ACCENTS = {
    **{"\u0302": "hat", "\u0303": "tilde", "\u0304": "bar", "\u0307": "dot", "\u0308": "ddot"},
    **{"\u030c": "check"},
}
_LINES, _CENTRED_LINES = r"\begin{tabular}{@{}l@{}}", r"\begin{tabular}{@{}c@{}}"
# Letters between À and ž that the preamble of matplotlib (font encoding OT1) cannot draw.
_NOT_IN_OT1 = frozenset("ÐÞðþĄąĐđĘęĦħĮįĸĿŀŉŊŋŦŧŲų")
# Kinds of decomposition that leave the text as it is: 𝐱 to x, ㎏ to kg, but not ½ or ⁴.
_SAME_TEXT = ("<font>", "<wide>", "<narrow>", "<square>", "<compat>", "<noBreak>")
MISSING = "?"


def escape(
    text: str,
    *,
    latex: bool,
    has_glyph: Callable[[str], bool] = lambda character: True,
    missing: dict[str, None] | None = None,
) -> str:
    r"""`text`, escaped so that matplotlib draws exactly these characters.

    Args:
        text: What is to be read.
        latex: Whether LaTeX draws it.
        has_glyph: Whether the fonts have a glyph for a character; LaTeX's are known.
        missing: Characters for which there is no glyph are added; a question mark is drawn.

    Examples:
        >>> print(escape("val_loss at 50%", latex=True), escape("5 $", latex=False))
        val\_loss at 50\% 5 \$
    """
    lacking = {} if missing is None else missing
    lines = "".join(map(_drawable, unicodedata.normalize("NFC", text))).split("\n")
    if not latex:
        characters = (_with_glyph(character, has_glyph, lacking) for character in "\n".join(lines))
        return "".join(characters).replace("$", r"\$")  # an even number would become mathtext
    lines = ["".join(_latex_characters(line, lacking)) for line in lines]
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
    if kind == "Cf" or "\ufe00" <= character <= "\ufe0f":
        return ""  # joiners, marks of direction, variants of an emoji: never drawn
    return MISSING if kind == "Cs" else character


def _with_glyph(character: str, has_glyph: Callable[[str], bool], missing: dict[str, None]) -> str:
    if character == "\n" or has_glyph(character):
        return character
    kind, parts = _decomposed(character)
    if kind in _SAME_TEXT and parts and all(map(has_glyph, parts)):
        return parts
    missing[character] = None
    return MISSING


def _latex_characters(text: str, missing: dict[str, None]) -> Iterator[str]:
    characters = list(text)
    while characters:
        character = characters.pop(0)
        command = _latex_command(character)
        if command is None:
            missing[character] = None
            command = MISSING
        while characters and unicodedata.combining(characters[0]):
            command = _accented(command, characters.pop(0))
        yield command


def _latex_command(character: str) -> str | None:
    """What LaTeX draws this character with; None if its fonts have nothing for it."""
    if character in _LATEX:
        return _LATEX[character]
    if character in _MATHEMATICS:
        return rf"\ensuremath{{\{_MATHEMATICS[character]}}}"
    if " " <= character <= "\x7e" or ("À" <= character <= "ž" and character not in _NOT_IN_OT1):
        return character
    kind, parts = _decomposed(character)
    lacking: dict[str, None] = {}
    command = "".join(_latex_characters(parts, lacking))
    if not parts or lacking:
        return None
    # A number in another form stays the same number: 10⁴ is not 104, and ½ is not 12.
    if kind == "<super>":
        return rf"\textsuperscript{{{command}}}"
    if kind == "<sub>":
        return rf"\textsubscript{{{command}}}"
    if kind == "<fraction>":
        above, _, below = command.partition("/")
        return rf"\textsuperscript{{{above}}}\kern-.1em/\kern-.1em\textsubscript{{{below}}}"
    return f"({command})" if kind == "<circle>" else command


def _decomposed(character: str) -> tuple[str, str]:
    """How Unicode composes a character, such as "<super>" or "", and of which ones."""
    fields = unicodedata.decomposition(character).split()
    kind = fields.pop(0) if fields and fields[0].startswith("<") else ""
    return kind, "".join(chr(int(field, 16)) for field in fields)


def _accented(command: str, mark: str) -> str:
    """LaTeX's command for a letter with an accent; without it, where the fonts cannot draw it."""
    if command.startswith(r"\ensuremath") and mark in _MATHEMATICAL_ACCENTS:
        return rf"\ensuremath{{\{_MATHEMATICAL_ACCENTS[mark]}{{{command}}}}}"
    if len(command) == 1 and mark in _ACCENTS:
        return rf"\{_ACCENTS[mark]}{{{command}}}"
    return command
