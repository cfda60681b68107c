"""Tracking URIs: what they name, and whether it can be used."""

import importlib.util
import os
import re
import socket
import urllib.parse
from collections.abc import Mapping
from pathlib import Path

from .errors import NotInstalledError, TrackingError
from .secrets import uri_without_secrets, without_credentials

CONNECT_TIMEOUT_S = 5.0
PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}


def is_server(uri: str) -> bool:
    """Whether the URI names a server, which accepts batches while the run is still going."""
    return uri[:8].lower().startswith(("http://", "https://"))


def sqlite_path(uri: str) -> Path | None:
    """The absolute path of the SQLite file that a URI names; None if it names something else."""
    path = uri.removeprefix("sqlite:///").partition("?")[0]
    if not uri.startswith("sqlite:///") or not path or path.startswith(("file:", ":memory:")):
        return None
    return Path(path).absolute()


def absolute_uri(uri: str) -> str:
    """The URI with an absolute path, if it names an SQLite file: `sync` may run elsewhere."""
    path = sqlite_path(uri)
    if path is None:
        return uri
    return f"sqlite:///{path}{''.join(uri.partition('?')[1:])}"


def check_uri(uri: str) -> None:
    """Refuses what today's MLflow cannot write to.

    Raises:
        TrackingError: For a folder, because MLflow has removed its file store, or for a text that
            is not a URI.
    """
    shown = uri_without_secrets(uri)
    try:
        scheme = urllib.parse.urlsplit(uri).scheme
    except ValueError:  # whose text may have a part of the password
        raise TrackingError(f"Tracking URI {shown!r} is no URI.", lasts=True) from None
    if uri.partition(":")[0] in ("databricks", "databricks-uc", "uc"):
        return
    if re.match(r"([^/]*@)?[\w.-]+:\d+(/|$)", uri):
        shown = without_credentials(f"http://{uri}")
        raise TrackingError(f"Tracking URI {shown[7:]!r} has no scheme. Did you mean {shown!r}?")
    if scheme in ("", "file") or len(scheme) == 1:  # C:\…
        raise TrackingError(
            f"Tracking URI {shown!r} is a folder, and MLflow 3.13 removed its file store. "
            "Leave mlflow.tracking_uri null for the SQLite store in the experiment's folder, set "
            "it to a server (http://…) or a database (sqlite:///…), or convert an old ./mlruns "
            "with `mlflow migrate-filestore`."
        )


def check_installed(uri: str) -> None:
    """Names what is missing before MLflow fails deep inside.

    Raises:
        NotInstalledError: If the URI names a database and only mlflow-skinny is installed.
    """
    if not is_server(uri) and uri.startswith(("sqlite", "postgresql", "mysql", "mssql")):
        try:
            full = importlib.util.find_spec("sqlalchemy") and importlib.util.find_spec("alembic")
        except (ImportError, ValueError):
            full = None
        if not full:
            raise NotInstalledError(
                f"{uri_without_secrets(uri)} needs the full MLflow, and only mlflow-skinny is "
                'installed: pip install "expkit-mlflow[local]", or set mlflow.tracking_uri to a '
                "server (http://…). The journals keep everything until then."
            )


def check_reachable(uri: str) -> None:
    """Checks once whether something listens there; MLflow's clients would try for minutes.

    Raises:
        TrackingError: If nothing does.
    """
    parts = urllib.parse.urlsplit(uri)
    scheme = parts.scheme.partition("+")[0]
    host = parts.hostname
    if host is None or scheme not in PORTS:
        return
    if is_server(uri):
        from urllib.request import getproxies, proxy_bypass  # takes 15 ms, and only this needs it

        if scheme in getproxies() and not proxy_bypass(host):
            return  # only the proxy can tell
    try:
        port = parts.port or PORTS[scheme]
    except ValueError:  # whose text may have a part of the password
        text = f"{uri_without_secrets(uri)} has a port that is no number."
        raise TrackingError(text, lasts=True) from None
    try:
        socket.create_connection((host, port), CONNECT_TIMEOUT_S).close()
    except (OSError, ValueError) as error:  # ValueError: a name that is none
        raise TrackingError(f"{uri_without_secrets(uri)} does not answer ({error}).") from error


def environment_without_mlflow(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment without MLflow's variables, which would redirect our own server.

    Args:
        environ: The environment; that of this process by default.
    """
    return {
        key: value
        for key, value in (os.environ if environ is None else environ).items()
        if not key.startswith(("MLFLOW_", "_MLFLOW_")) or key == "MLFLOW_DISABLE_TELEMETRY"
    }
