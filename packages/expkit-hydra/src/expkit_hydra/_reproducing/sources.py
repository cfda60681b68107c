"""The code of a run in a folder: its commit with what was not committed, and how true that is."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from .checkout import CheckoutError, apply_patch, check_out, find_repository
from .invocation import Invocation
from .report import Report, some

TYPE_CHECKING = False
if TYPE_CHECKING:
    from expkit_bookkeeping import RunRecord

CODE = "code"


def repository_of(
    commit: str,
    record: RunRecord,
    experiment: Path,
    invocation: Invocation | None,
    repositories: Sequence[Path],
) -> Path:
    """The repository with the commit of a run.

    Raises:
        LookupError: If there is none in these folders, the experiment's, the working directory and
            the run's own.
    """
    recorded = [] if invocation is None else [invocation.project or invocation.folder]
    folders = [*repositories, experiment, Path.cwd(), *recorded]
    try:
        repository = find_repository(commit, folders)
    except CheckoutError as error:
        raise LookupError(
            f"git does not open the repository with commit {commit}: {error}"
        ) from None
    if repository is None:
        raise LookupError(
            f"Run {record.run_name!r} was made with commit {commit}, and no repository here has "
            f"it; looked around {', '.join(map(str, dict.fromkeys(folders)))}. Fetch it there "
            f"(git fetch origin {commit}), or name a clone that has it: --repository DIR."
        )
    return repository


def bring_code(
    record: RunRecord, repository: Path, commit: str, folder: Path, report: Report
) -> None:
    from expkit_bookkeeping.launching import left_out_of, recorded_changes

    code = folder / CODE
    try:
        check_out(repository, commit, code)
    except CheckoutError as error:
        raise LookupError(f"git cannot check out {commit} of {repository}: {error}") from None
    facts = record.code or {}
    what = f"commit {commit[:10]}"
    patch = recorded_changes(record)
    if patch is not None:
        (folder / "changes.patch").write_bytes(patch)
        report.missing += [f"changes: not kept: {text}" for text in left_out_of(patch)]
        try:
            apply_patch(code, patch)
            what += " with the changes that were not committed"
        except CheckoutError as error:
            report.missing.append(f"changes: changes.patch cannot be applied: {error}")
    elif facts.get("changes_hash") is not None:
        report.missing.append("changes: their record is gone or damaged")
    elif facts.get("dirty"):
        report.missing.append("changes: what was not committed is not recorded")
    _check_sources(record, code, what, report)
    if (code / ".gitmodules").exists():
        report.missing.append(
            f"submodules: git -C {CODE} submodule update --init fetches them from where they come"
        )
    if _uses_lfs(code):
        report.missing.append(
            f"Git LFS: large files are pointers; git -C {CODE} lfs fetch and checkout"
        )


def _check_sources(record: RunRecord, code: Path, what: str, report: Report) -> None:
    """Compare the checkout with the sources that the run has imported."""
    from expkit_bookkeeping.launching import recorded_sources

    sources = recorded_sources(record)
    if sources is None:
        report.same.append(what)
        report.missing.append("code: which files the run imported is not recorded")
        return
    changed, gone = [], []
    for name, digest in sources.items():
        path = code / name
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            continue
        if not path.is_file():
            gone.append(name)
        elif hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            changed.append(name)
    same = len(sources) - len(changed) - len(gone)
    report.same.append(f"{what}; {same} of {len(sources)} imported files are as they were")
    if gone:
        report.missing.append(f"code: not in git: {some(gone)}")
    if changed:
        report.missing.append(f"code: another content than the run imported: {some(changed)}")


def report_no_code(record: RunRecord, commit: object, report: Report) -> None:
    from expkit_bookkeeping.launching import recorded_sources

    number = len(recorded_sources(record) or {})
    why = "the run was made outside a git repository" if commit is None else f"{commit!r} is none"
    report.missing.append(f"code: no commit, as {why}; hashes of {number} files are all there is")


def package_folders(record: RunRecord, code: Path) -> list[str]:
    """Folders above the packages that the run had imported, relative to the reproduction."""
    from expkit_bookkeeping.launching import recorded_sources

    folders: dict[str, None] = {}
    for name in recorded_sources(record) or {}:
        package = PurePosixPath(name).parent
        if not (code / package / "__init__.py").is_file():
            continue
        while (code / package.parent / "__init__.py").is_file() and package.parts:
            package = package.parent
        folders[(PurePosixPath(CODE) / package.parent).as_posix()] = None
    return list(folders)


def _uses_lfs(code: Path) -> bool:
    try:
        return "filter=lfs" in (code / ".gitattributes").read_text(errors="replace")
    except OSError:
        return False
