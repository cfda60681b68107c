"""From names in files to words on paper: labels, legend entries, escaping."""

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

# Prefixes and abbreviations that readers of a figure should not have to know.
_WORDS = {
    "acc": "accuracy",
    "dev": "development",
    "eval": "evaluation",
    "iter": "iteration",
    "lr": "learning rate",
    "num": "number of",
    "val": "validation",
    "valid": "validation",
}
_CAPITALS = {
    *("auc", "auroc", "bleu", "ccc", "cer", "cpu", "eer", "f1", "fid", "fps", "gpu", "iou"),
    *("kl", "mae", "mape", "mcc", "mse", "nll", "psnr", "r2", "rmse", "ssim", "uar", "wer"),
}
_UNITS = {
    **{"s": "s", "ms": "ms", "us": "µs", "min": "min", "h": "h"},
    **{"kb": "kB", "mb": "MB", "gb": "GB", "mib": "MiB", "gib": "GiB"},
    **{"percent": "%", "pct": "%", "db": "dB", "hz": "Hz", "w": "W"},
}
_SAYS_NOTHING = ("name", "id", "type", "kind", "_target_")  # the key above says more
_SPLITS = ("train", "training", "val", "valid", "validation", "dev", "test", "eval")


def readable(name: str) -> str:
    """A metric's or an axis' name as words, with the unit that ends it in parentheses.

    >>> readable("val_accuracy"), readable("train/f1"), readable("epoch_time_s")
    ('Validation accuracy', 'Train F1', 'Epoch time (s)')
    >>> readable("Loss on 50%")
    'Loss on 50%'
    """
    words = [word for word in re.split(r"[_/\s]+", name) if word]
    if not words:
        return name
    unit = ""
    if len(words) > 1 and words[-1].lower() in _UNITS and "_" in name:
        unit = f" ({_UNITS[words.pop().lower()]})"
    shown = []
    for word in words:
        if word.lower() in _CAPITALS:
            shown.append(word.upper())
        else:
            shown.append(_WORDS.get(word, word))
    text = " ".join(shown)
    return text[:1].upper() + text[1:] + unit


def split_and_quantity(metric: str) -> tuple[str, str]:
    """The data split that a metric's name begins with, and what was measured.

    >>> split_and_quantity("val_loss"), split_and_quantity("loss")
    (('val', 'loss'), ('', 'loss'))
    """
    match = re.match(rf"({'|'.join(_SPLITS)})[_/.](.+)", metric, flags=re.IGNORECASE)
    return (match[1], match[2]) if match else ("", metric)


def value_text(value: object) -> str:
    """A swept value, as short as it can be and still be read back.

    >>> value_text(0.001), value_text(None), value_text([1, 2]), value_text(1e-05)
    ('0.001', 'None', '[1, 2]', '1e-05')
    """
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    if isinstance(value, str):
        return " ".join(value.split()) if value.strip() else repr(value)
    if isinstance(value, (Mapping, list, tuple)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def short_keys(keys: Sequence[str]) -> dict[str, str]:
    """For each dotted key the shortest tail that no other key shares; `model` for `model.name`.

    >>> short_keys(["model.name", "optimizer.lr", "scheduler.lr"])
    {'model.name': 'model', 'optimizer.lr': 'optimizer.lr', 'scheduler.lr': 'scheduler.lr'}
    >>> short_keys(["optimizer", "optimizer.lr"])
    {'optimizer': 'optimizer', 'optimizer.lr': 'lr'}
    """
    plain = {key: key for key in keys}
    for key in keys:
        head, _, tail = key.rpartition(".")
        if head and tail in _SAYS_NOTHING and head not in keys:
            plain[key] = head
    short = {}
    for key, name in plain.items():
        parts = name.split(".")
        for start in range(len(parts) - 1, -1, -1):
            tail = ".".join(parts[start:])
            matches = [
                other for other in plain.values() if other == tail or other.endswith(f".{tail}")
            ]
            if len(matches) == 1:
                break
        short[key] = tail
    return short


def compact_none(label: str) -> str:
    """A legend entry with `None` parts as `~`, as the style key `replace_none` asks for.

    >>> compact_none("Some_Run_None_None_1"), compact_none("cnn, None, 1")
    ('Some_Run~~1', 'cnn, ~, 1')
    """
    return ", ".join(_compact_part(part) for part in label.split(", "))


def _compact_part(part: str) -> str:
    part = re.sub(r"(?<==)None$", "~", part)
    compact = ""
    after_none = True  # no separator at the start either
    for token in part.split("_"):
        if token == "None":
            compact += "~"
            after_none = True
        else:
            compact += token if after_none else f"_{token}"
            after_none = False
    return compact


def shorten(text: str, length: int) -> str:
    """`text` with its middle left out, so that it has at most `length` characters.

    >>> shorten("a_very_long_name_of_a_run", 11)
    'a_ver…a_run'
    """
    if len(text) <= length:
        return text
    kept = max(length - 1, 2)
    return f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"


def broken(text: str) -> str:
    r"""`text` in two lines, if it has a space.

    >>> broken("validation accuracy of all")
    'validation\naccuracy of all'
    """
    spaces = [index for index, letter in enumerate(text) if letter == " "]
    if not spaces:
        return text
    middle = min(spaces, key=lambda index: abs(index - len(text) / 2))
    return f"{text[:middle]}\n{text[middle + 1 :]}"


def shorten_all(texts: Sequence[str], length: int) -> list[str]:
    """`shorten` for a legend: entries that become equal are numbered."""
    entries: list[str] = []
    uses: dict[str, int] = {}
    for text in texts:
        entry = shorten(text, length)
        if entry != text:
            uses[entry] = uses.get(entry, 0) + 1
            if uses[entry] > 1:
                entry = f"{entry} ({uses[entry]})"
        entries.append(entry)
    return entries


def escape(text: str, *, latex: bool) -> str:
    r"""`text` such that matplotlib draws exactly these characters.

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
    return rf"\begin{{tabular}}{{@{{}}l@{{}}}}{table}\end{{tabular}}"


def _drawable(character: str) -> str:
    """No font has control characters, and neither SVG nor PDF can hold half a surrogate pair."""
    kind = unicodedata.category(character)
    if kind == "Cc" and character != "\n":
        return " "
    return "?" if kind == "Cs" else character


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
# Letters between À and ž that the preamble of matplotlib (font encoding OT1) cannot draw.
_NOT_IN_OT1 = frozenset("ÐÞðþĄąĐđĘęĦħĮįĸĿŀŉŊŋŦŧŲų")


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
