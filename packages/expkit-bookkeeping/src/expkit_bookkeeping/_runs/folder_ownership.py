"""Whose a folder is: ours, free, or somebody else's, in which nothing is claimed, moved or purged.

*Ours* is a folder that expkit made: it holds a claim, or a run.json of ours. *Free* is a new or
empty one, and one with nothing but what Hydra, a launcher, a file system or an MLFlowLogger leaves
before a run is claimed. Any other is *foreign*.
"""

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from .._files.append_files import open_to_read
from .._files.durable import is_temporary
from .._files.json_files import UnreadableFileError, read_json
from .._files.paths import exists
from .claim_files import claim_path, highest_claim
from .records import read_run

# Whatever Bookkeeping may write into a run folder. A foreign file of such a name would be mistaken
# for ours, overwritten or appended to.
OUR_NAMES = frozenset(
    {
        "claims",
        "code",
        "config.yaml",
        "console.log",
        "environment.yaml",
        "metrics.jsonl",
        "metrics.jsonl.replaced",
        "model_summary.txt",
        "model_summary.yaml",
        "plots",
        "results",
        "run.json",
        "run.json.damaged",
        "states",
        "timer.yaml",
        "tracking.jsonl",
        "training.log",
    }
)
_FREE_NAMES = (".hydra", ".gitkeep", "console.log")
_JOURNAL = "tracking.jsonl"
_JOURNAL_BEGINS = b'{"kind": "run"'
_LOGGER_NAMES = (_JOURNAL, "config.yaml", "logged")  # of an MLFlowLogger that was used alone


def foreign_reason(folder: Path, *, experiment: Path | None = None) -> str | None:
    """Why a launcher may not claim a folder as a run's; None if it may.

    The folder where the program was started, that of its script, the home directory, the
    experiment and all folders above them are never a run's, unless expkit made them as one.

    Args:
        folder: The folder that is to become a run's.
        experiment: The run's experiment, which need not exist yet.

    Returns:
        The reason, as the end of a sentence that begins with the folder's name.
    """
    # Hydra may have changed into the folder of its job, and knows where it was started.
    return _foreign_reason(folder, at_work=_hydra_cwd() is None, experiment=experiment)


def is_shared_claim(folder: Path, *, may_share: bool) -> bool:
    """Check that a folder may be claimed; says whether it is shared with files of others.

    Args:
        folder: The folder that is to become a run's.
        may_share: Whether the user has named this very folder: then it may hold other files, as
            long as none has a name that Bookkeeping would use.

    Returns:
        True for the first claim of a folder with foreign files, and for all after it.

    Raises:
        PermissionError: If the folder is foreign; says what to do.
    """
    if not exists(folder):
        return False
    claim = _claim_in(folder)
    if claim is not None:
        return claim.get("shared") is True
    # A notebook may claim the empty folder that it has changed into.
    reason = _foreign_reason(folder, at_work=False)
    if reason is None:
        return False
    if may_share:
        reason = _reason_not_to_share(folder, reason)
    if reason is None:
        return True
    other = f"Bookkeeping({str(folder / 'run_1')!r})" if may_share else "another run_name"
    raise PermissionError(
        f"{folder} {reason}. A run gets a new or empty folder, or one that expkit made: choose "
        f"{other}, or move these files away. If a line of yours writes them before the run "
        "starts, delete it, or write them once the run has started."
    )


def reason_to_stay(folder: Path) -> str | None:
    """Why a folder must not be moved or purged as a run's; None if expkit alone made it.

    Returns:
        The reason, as the end of a sentence that begins with the folder's name.
    """
    if not is_run_folder(folder):
        reason = _content_reason(folder)
    elif is_shared(folder):
        reason = "held other files when it was first claimed, and those are not expkit's"
    elif exists(folder / ".git"):
        reason = "is the root of a git repository"
    else:
        experiment = _experiment_in(folder)
        reason = None if experiment is None else f"holds the runs of {experiment}"
    return reason or _place_reason(folder, _places(at_work=True))


def is_run_folder(folder: Path) -> bool:
    """Whether expkit made a folder: it holds a claim, or a run.json with our schema and id."""
    if _claim_in(folder) is not None:
        return True
    record = read_run(folder)
    if record is None or record.is_newer:
        return record is not None
    return type(record.data.get("schema")) is int and record.id is not None


def is_shared(folder: Path) -> bool:
    """Whether a run folder held other files when it was first claimed."""
    return (_claim_in(folder) or {}).get("shared") is True


def script_files(folder: Path) -> list[str]:
    """Names of what lies in a run folder and is neither expkit's nor Hydra's: the script wrote it.

    Args:
        folder: A run folder.
    """
    names = {
        name
        for name in _names_in(folder)
        if not _is_free_name(name) and not name.startswith(".") and name not in OUR_NAMES
    }
    return sorted(names - _hydra_names(folder))


def _foreign_reason(folder: Path, *, at_work: bool, experiment: Path | None = None) -> str | None:
    is_there = exists(folder)
    if is_there and is_run_folder(folder):
        return None
    if experiment is not None:
        runs = (experiment / "training").resolve()
        if folder.resolve() in (runs, *runs.parents):
            return f"is or contains {experiment}, the experiment"
    if not is_there:
        return None
    reason = _place_reason(folder, _places(at_work=at_work)) or _content_reason(folder)
    # Asked again: another process may have claimed it between the two, and written into it.
    return None if reason is None or is_run_folder(folder) else reason


def _reason_not_to_share(folder: Path, reason: str) -> str | None:
    """Why a folder that was named by hand cannot be claimed beside the files that it holds."""
    place_reason = _place_reason(folder, _places(at_work=False))
    if place_reason is not None:
        return place_reason
    if exists(folder / ".git"):
        return "is the root of a git repository"
    experiment = _experiment_in(folder)
    if experiment is not None:
        return f"holds the runs of {experiment}"
    # By asking for each name: some file systems do not tell Config.yaml from config.yaml.
    ours = sorted(name for name in OUR_NAMES if os.path.lexists(folder / name))
    if not ours:
        return None
    are = "is a name" if len(ours) == 1 else "are names"
    return f"{reason}, and {_listed(ours)} {are} that Bookkeeping uses itself"


def _claim_in(folder: Path) -> dict[str, object] | None:
    """What the first claim in a folder says, or the highest if that is gone; None if it has none.

    A claim that cannot be read says nothing; whoever wrote it may be alive.
    """
    for number in (1, None):
        number = number or highest_claim(folder)
        try:
            claim = read_json(claim_path(folder, number), object)
        except UnreadableFileError:
            return {}
        except (FileNotFoundError, NotADirectoryError):
            continue
        if isinstance(claim, dict) and ("attempt" in claim or "claimed_at" in claim):
            return claim
    return None


def _content_reason(folder: Path) -> str | None:
    """What in a folder is foreign; None if it is free."""
    foreign = [name for name in _names_in(folder) if not _is_free_name(name)]
    if "claims" in foreign and _is_unfinished(folder / "claims"):
        foreign.remove("claims")
    if foreign and _JOURNAL in foreign and _is_journal(folder / _JOURNAL):
        foreign = [name for name in foreign if name not in _LOGGER_NAMES]
    if foreign:
        foreign = sorted(set(foreign) - _hydra_names(folder))
    return f"holds files that expkit did not write ({_listed(foreign)})" if foreign else None


def _is_free_name(name: str) -> bool:
    return name in _FREE_NAMES or name.startswith(".nfs") or is_temporary(name)


def _is_unfinished(claims: Path) -> bool:
    """Whether expkit was killed before its first claim: nothing but leftovers lies there."""
    return claims.is_dir() and all(map(is_temporary, _names_in(claims)))


def _is_journal(path: Path) -> bool:
    """Whether an MLFlowLogger wrote this tracking.jsonl, or was killed at its first line."""
    try:
        with open_to_read(path) as file:
            begins = file.read(len(_JOURNAL_BEGINS))
    except OSError:
        return False
    return _JOURNAL_BEGINS.startswith(begins)


def _hydra_names(folder: Path) -> set[str]:
    """Names of what Hydra itself writes into the folder of a job: its log and its `.hydra`.

    A log alone is not Hydra's: `python train.py > logs/train.log` makes one, too.
    """
    names = set()
    if (folder / ".hydra").is_dir():
        names.add("training.log")
        script = _script()
        if script is not None:
            names.add(f"{script.stem}.log")
    if (folder / ".hydra" / "hydra.yaml").is_file():
        from .._files.yaml_files import read_yaml

        # Otherwise what is there is not Hydra's.
        with contextlib.suppress(OSError, ValueError, TypeError, LookupError):
            names |= _log_names(read_yaml(folder / ".hydra" / "hydra.yaml")["hydra"])  # type: ignore[index]
    live = _hydra_config()
    with contextlib.suppress(Exception):  # what somebody has set may be incomplete
        if live is not None and Path(live.runtime.output_dir).samefile(folder):
            names |= _log_names(live) | {str(live.output_subdir or ".hydra")}
    return names


def _log_names(hydra: Any) -> set[str]:
    """Names of the files that Hydra logs to, by its node of a configuration, live or as saved."""
    try:
        name = str(hydra["job"]["name"])
        handlers = (hydra["job_logging"].get("handlers") or {}).values()
        files = [str(handler["filename"]) for handler in handlers if "filename" in handler]
    except Exception:  # incomplete, or somebody else's
        return set()
    # As saved, references are not resolved.
    names = (file.replace("${hydra.job.name}", name).rpartition("/")[2] for file in files)
    return {name for name in names if name.endswith(".log")}


def _hydra_config() -> Any:
    """Hydra's node of the job that this process runs; None outside of Hydra."""
    module = sys.modules.get("hydra.core.hydra_config")
    if module is None or not module.HydraConfig.initialized():
        return None
    return module.HydraConfig.get()


def _hydra_cwd() -> Path | None:
    """Where Hydra was started, which may have changed into the run's folder since."""
    try:
        return Path(_hydra_config().runtime.cwd)
    except Exception:  # outside of Hydra, or what was set is incomplete
        return None


def _script() -> Path | None:
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    return Path(file).absolute() if isinstance(file, str) else None


def _places(*, at_work: bool) -> Iterator[tuple[Path, str]]:
    """Folders that are never a run's, nor those above them, with what each one is.

    Args:
        at_work: Whether the working directory itself is one. Nobody moves it away under a
            program; but a notebook may claim the empty folder that it has changed into.
    """
    start = _hydra_cwd()
    if start is not None:
        yield start, "where this program was started"
    with contextlib.suppress(OSError):  # the working directory has been removed
        cwd = Path.cwd()
        yield (cwd if at_work else cwd.parent), "where this program was started"
    script = _script()
    if script is not None:
        yield script.parent, "where its script lies"
        yield script.resolve().parent, "where its script lies"
    with contextlib.suppress(RuntimeError):  # nobody knows
        home = Path.home()
        if home.is_absolute():
            yield home, "your home directory"


def _place_reason(folder: Path, places: Iterable[tuple[Path, str]]) -> str | None:
    """Why a folder that exists is never a run's, by where it is; compared as files."""
    try:
        stat = folder.stat()
    except OSError:
        return None
    for inner, what in places:
        for path in {inner, inner.resolve()}:
            for outer in (path, *path.parents):
                try:
                    if os.path.samestat(stat, outer.stat()):
                        return f"is or contains {inner}, {what}"
                except OSError:
                    continue
    return None


def _experiment_in(folder: Path) -> Path | None:
    """The experiment that a folder is or holds; None if there is none."""
    inner = (folder / name for name in _names_in(folder))
    for path in (folder, *(path for path in inner if not path.is_symlink())):
        training = path / "training"
        with contextlib.suppress(OSError):  # what nobody may read holds no runs of this user
            if any(is_run_folder(training / name) for name in _names_in(training)):
                return path
    return None


def _names_in(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 (no Path objects)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more}"
