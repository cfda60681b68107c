"""From names in files to words on paper: axis labels, legend entries, shortening."""

import re
from collections.abc import Sequence

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
ELLIPSIS = "…"
_SPLITS = ("train", "training", "val", "valid", "validation", "dev", "test", "eval")


def readable(name: str) -> str:
    """A metric's or an axis' name as words, with the unit that ends it in parentheses.

    Examples:
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

    Examples:
        >>> split_and_quantity("val_loss"), split_and_quantity("loss")
        (('val', 'loss'), ('', 'loss'))
    """
    match = re.match(rf"({'|'.join(_SPLITS)})[_/.](.+)", metric, flags=re.IGNORECASE)
    return (match[1], match[2]) if match else ("", metric)


def legend_label(label: str, *, replace_none: bool) -> str:
    """A label as the legend shows it."""
    return compact_none(label) if replace_none else label


def compact_none(label: str) -> str:
    """A legend entry with `None` parts as `~`, as the style key `replace_none` asks for.

    Examples:
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

    Examples:
        >>> shorten("a_very_long_name_of_a_run", 11)
        'a_ver…a_run'
    """
    if len(text) <= length:
        return text
    kept = max(length - 1, 2)
    return f"{text[: (kept + 1) // 2]}{ELLIPSIS}{text[len(text) - kept // 2 :]}"


def broken(text: str) -> str:
    r"""`text` in two lines, if it has a space.

    Examples:
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
