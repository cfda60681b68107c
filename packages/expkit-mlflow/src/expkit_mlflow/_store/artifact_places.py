"""Where artifacts may be written: a store that nobody has named leads nowhere but to itself."""

import urllib.parse
from pathlib import Path

from .._addresses.command_lines import command_line
from .._addresses.errors import TrackingError
from .._addresses.secrets import uri_without_secrets


def is_on_server(artifact_uri: str, server: str) -> bool:
    """Whether a place for artifacts, such as `mlflow-artifacts:/1/RUN/artifacts`, is on a server.

    Examples:
        >>> is_on_server("mlflow-artifacts:/1/a/artifacts", "http://me:secret@host:5000")
        True
    """
    try:
        place = urllib.parse.urlsplit(artifact_uri)
        host = urllib.parse.urlsplit(server).netloc.rpartition("@")[2]
    except ValueError:
        return False
    return place.scheme == "mlflow-artifacts" and place.netloc in ("", host)


def check_on_server(artifact_uri: str, server: str) -> None:
    """Refuses a place for artifacts that is not on the server itself.

    Raises:
        TrackingError: If it is a file, a bucket or another server.
    """
    if not is_on_server(artifact_uri, server):
        raise TrackingError(
            f"{uri_without_secrets(server)} asks for artifacts in "
            f"{uri_without_secrets(artifact_uri)!r}, which is not on that server, and only "
            "journals name it. Nothing was written there.",
            lasts=True,
        )


def check_in_folder(artifact_uri: str, path: str, folder: Path, *, follow_links: bool) -> None:
    """Refuses a place for an artifact that is not in a folder, or is there but a link out of it.

    Args:
        artifact_uri: The place of the run's artifacts, as a database says.
        path: The artifact's path there.
        folder: The experiment's folder of artifacts.
        follow_links: Whether this folder may be a link itself.

    Raises:
        TrackingError: If it is anywhere else.
    """
    from mlflow.utils.file_utils import local_file_uri_to_path

    inside = False
    try:
        place = urllib.parse.urlsplit(artifact_uri)
        if place.scheme in ("", "file") and place.netloc == "":
            root = Path(local_file_uri_to_path(artifact_uri))  # type: ignore[no-untyped-call]
            allowed = folder.resolve() if follow_links else folder.parent.resolve() / folder.name
            inside = (root / path).resolve().is_relative_to(allowed)
    except (ValueError, OSError, RuntimeError):  # no path at all, or a loop of links
        pass
    if not inside:
        linked = folder.is_symlink() and not follow_links
        command = command_line("sync", folder.parent, "--follow-links")
        hint = f" {folder} is a link: `{command}` writes there." if linked else ""
        raise TrackingError(
            f"The store in {folder.parent} keeps artifacts in "
            f"{uri_without_secrets(artifact_uri)!r}, which is not in {folder}. Nothing was "
            f"written there.{hint}",
            lasts=True,
        )
