"""One line about a pytest report: what passed, what was skipped and why, on which GPU."""

import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter


def device() -> str:
    """The GPU and the PyTorch version of the tests."""
    try:
        import torch
    except ImportError:
        return "no torch"
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{name}, torch {torch.__version__}"


def summary(report: str) -> tuple[str, bool]:
    """The line, and whether anything failed or nothing ran."""
    cases = list(ElementTree.parse(report).getroot().iter("testcase"))
    failed = sum(
        case.find("failure") is not None or case.find("error") is not None for case in cases
    )
    skips = [skip for case in cases if (skip := case.find("skipped")) is not None]
    counts = Counter(skip.get("message", "").removeprefix("Skipped: ") for skip in skips)
    reasons = "; ".join(f"{count} {reason}" for reason, count in counts.most_common())
    passed = len(cases) - failed - len(skips)
    in_brackets = f" ({reasons})" if reasons else ""
    line = f"{passed} passed, {failed} failed, {len(skips)} skipped{in_brackets}; {device()}"
    return line, failed > 0 or not cases


if __name__ == "__main__":
    line, has_failed = summary(sys.argv[1])
    print(line)
    raise SystemExit(has_failed)
