"""Reading timer.yaml, which expkit-timer owns."""

import contextlib
from pathlib import Path


def timer_statistics(path: Path) -> dict[str, dict[str, float]]:
    """The numbers of each timer in the file; empty where it cannot be read."""
    import yaml

    with contextlib.suppress(OSError, yaml.YAMLError):
        timers = yaml.safe_load(path.read_text(encoding="utf-8"))
        if isinstance(timers, dict):
            return {
                str(name): {
                    key: value for key, value in entry.items() if isinstance(value, (int, float))
                }
                for name, entry in timers.items()
                if isinstance(entry, dict)
            }
    return {}
