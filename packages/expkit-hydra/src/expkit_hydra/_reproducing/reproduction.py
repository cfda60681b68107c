"""A new folder in which a run can be trained again: its code, configuration and command."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .checkout import is_commit
from .invocation import Invocation, read_mapping, recorded_invocation, results_override, script
from .report import Report
from .sources import CODE, bring_code, package_folders, report_no_code, repository_of
from .surroundings import (
    environment_differences,
    missing_data,
    missing_secrets,
    references,
    requirements,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from expkit_bookkeeping import RunRecord

RESULTS = "results"
SCRIPT = "reproduce.sh"


@dataclass(frozen=True)
class Reproduction:
    """A folder in which a run can be trained again.

    Attributes:
        folder: The folder.
        script: What starts the run again; None if that is unknown, or there is no code.
        commit: The commit in `code/`; None if none was recorded.
        same: What is as it was, in sentences.
        missing: What could not be brought back, or is another one here.
        notes: What to know before it is started.
    """

    folder: Path
    script: Path | None
    commit: str | None
    same: tuple[str, ...]
    missing: tuple[str, ...]
    notes: tuple[str, ...]


def make_reproduction(
    record: RunRecord, experiment: Path, target: Path, *, repositories: Sequence[Path] = ()
) -> Reproduction:
    """Make a folder with the code, the configuration and the command of a run.

    It is made beside its place and moved there when it is whole.

    Args:
        record: The run.
        experiment: Its experiment's folder.
        target: The new folder; it may exist if it is empty.
        repositories: Folders in the repositories in which to look for the run's commit; then in
            the experiment's, in the one around the working directory, and in the run's own.

    Raises:
        FileExistsError: If there is something at the target.
        LookupError: If a commit was recorded and no repository has it, or git cannot check it out.
    """
    from expkit_bookkeeping.launching import environment_facts

    invocation = recorded_invocation(record)
    commit = (record.code or {}).get("commit")
    repository = None
    if is_commit(commit):
        repository = repository_of(str(commit), record, experiment, invocation, repositories)
    with _new_folder(target) as folder:
        report = Report()
        if repository is not None:
            bring_code(record, repository, str(commit), folder, report)
        else:
            report_no_code(record, commit, report)
        config = _bring_configuration(record, folder, report)
        environment = read_mapping(record.folder / "environment.yaml")
        if environment:
            (folder / "requirements.txt").write_text(requirements(environment), encoding="utf-8")
        report.missing += environment_differences(environment, environment_facts())
        has_script = _bring_command(invocation, record, experiment, config, folder, report)
        made = Reproduction(
            folder=target,
            script=target / SCRIPT if has_script else None,
            commit=str(commit) if repository is not None else None,
            same=tuple(report.same),
            missing=tuple(report.missing),
            notes=tuple(report.notes),
        )
        (folder / "README.md").write_text(_readme(record, invocation, made), encoding="utf-8")
    return made


@contextlib.contextmanager
def _new_folder(target: Path) -> Iterator[Path]:
    """A folder that is moved to the target when the block ends, and removed if it fails."""
    problem = FileExistsError(
        f"{target} exists and is not empty: nothing in it is touched. Name a new folder with --to."
    )
    if os.path.lexists(target) and not (target.is_dir() and not any(target.iterdir())):
        raise problem
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name[:200]}.{os.urandom(6).hex()}.tmp")
    temporary.mkdir()
    try:
        yield temporary
        try:
            temporary.rename(target)  # a folder with anything in it is never replaced
        except OSError:
            raise problem from None
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _bring_configuration(record: RunRecord, folder: Path, report: Report) -> Mapping[str, object]:
    from expkit_bookkeeping.launching import yaml_text
    from expkit_bookkeeping.reading import read_config

    try:
        config = read_config(record.folder)
    except FileNotFoundError:
        config = read_mapping(record.folder / ".hydra" / "config.yaml")
    except ValueError as error:
        report.missing.append(f"configuration: {error}")
        return {}
    if config:
        (folder / "config.yaml").write_text(yaml_text(config), encoding="utf-8")
    else:
        report.missing.append("configuration: the run was given none")
    return config


def _bring_command(
    invocation: Invocation | None,
    record: RunRecord,
    experiment: Path,
    config: Mapping[str, object],
    folder: Path,
    report: Report,
) -> bool:
    """Write the script that starts the run again; returns whether that is possible."""
    from expkit_bookkeeping.reading import used_runs

    code = folder / CODE
    report.missing += references(config, record.unresolved)
    report.missing += missing_secrets(config, () if invocation is None else invocation.arguments)
    for use in used_runs(record):
        report.missing.append(f"first stage: {use.name}, {use.checkpoint}, in {RESULTS}/")
    tracking = config.get("mlflow")
    if isinstance(tracking, Mapping) and tracking.get("tracking_uri"):
        report.notes.append(
            "tracking: MLflow gets it as another run of the same name; mlflow.mode=disabled keeps "
            "it out"
        )
    if invocation is None:
        report.missing.append("command: not recorded, as in a notebook")
        return False
    working = invocation.folder_below(code)
    report.missing += missing_data(
        config, invocation.folder, code if working is None else working, experiment
    )
    if not code.is_dir():
        return False
    if working is None or not working.is_dir():
        report.missing.append(
            f"working directory: {invocation.folder}, which is not in the repository"
        )
        working = code
    results = []
    if invocation.is_hydra:
        relative = os.path.relpath(folder / RESULTS, working)
        results.append(results_override(relative, record.run_name, config))
        report.notes.append(f"results: in {RESULTS}/ of the folder")
    else:
        report.missing.append(
            "results: no Hydra app, so they go where the program writes them; if that is an "
            "absolute path, to the run itself"
        )
    program = invocation.program[-1]
    if "-m" not in invocation.program and not (working / program).is_file():
        report.missing.append(
            f"program: {program} is not in {CODE}/; an installed one runs the code that is "
            f"installed: pip install -e {CODE} in an environment of its own"
        )
    text = script(
        invocation,
        code=CODE,
        folder=working.relative_to(folder).as_posix(),
        paths=package_folders(record, code),
        results=results,
    )
    (folder / SCRIPT).write_text(text, encoding="utf-8")
    (folder / SCRIPT).chmod(0o755)
    return True


def _readme(record: RunRecord, invocation: Invocation | None, made: Reproduction) -> str:
    lines = [
        f"# {record.run_name}, to be trained again",
        "",
        f"`sh {SCRIPT}` starts it, with the Python that PYTHON names, and passes arguments on."
        if made.script is not None
        else "Nothing here starts it: see what is missing.",
        "",
        *(f"- As it was: {text}" for text in made.same),
        *(f"- **Not brought back**: {text}" for text in made.missing),
        *(f"- Note: {text}" for text in made.notes),
        "",
        f"- `{CODE}/` is the commit with `changes.patch`, a repository that borrows the objects of "
        "the one it comes from.",
        "- `config.yaml` is the run's configuration, resolved.",
        "- `requirements.txt` lists the packages that the run had imported.",
        "",
    ]
    if invocation is not None:
        words = shlex.join(["python", *invocation.program, *invocation.arguments])
        lines += ["As a single run it was", "", f"    {words}", "", f"in {invocation.folder}.", ""]
    return "\n".join(lines)
