"""Which addresses the user has named, and how the others are treated.

A journal lies in a results folder, which is data, whoever wrote it: a server that only a journal
names gets what is in the folder, and nothing of the user's own.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from .errors import TrackingError
from .secrets import remember_secrets, uri_secrets, without_credentials, without_secrets
from .uris import is_server

# What a client may need to reach a server and read no file of the user's for; all else that the
# environment holds is the user's own: tokens of MLflow, AWS, Azure, Google, Databricks.
_NEUTRAL = frozenset(
    (
        *("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "OMP_NUM_THREADS"),
        *("PYTHONPATH", "PYTHONHASHSEED", "VIRTUAL_ENV", "LD_LIBRARY_PATH"),
        *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
        *("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"),
        *("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"),
        *("MLFLOW_TRACKING_INSECURE_TLS", "MLFLOW_TRACKING_SERVER_CERT_PATH"),
        "MLFLOW_DISABLE_TELEMETRY",
    )
)
_environment_lock = threading.RLock()


class NamedAddresses:
    """The tracking URIs that the user has named, each by its address.

    Args:
        uris: From the command line, the environment or the configuration; empty ones are left out.
        folder: The experiment's folder: an SQLite file in it needs nobody to name it.
    """

    def __init__(self, uris: Iterable[str | None], folder: Path) -> None:
        self._folder = folder
        self._named = {address(uri): uri for uri in uris if uri}
        for uri in self._named.values():
            remember_secrets(uri_secrets(uri))

    def full_uri(self, uri: str) -> str:
        """The named URI with this address, credentials included; else the bare address."""
        return self._named.get(address(uri), without_credentials(uri))

    def is_named(self, uri: str) -> bool:
        """Whether the user has named a URI; the embedded store, an empty text, needs no name."""
        if not uri or address(uri) in self._named:
            return True
        path = uri.removeprefix("sqlite:///")
        if path == uri or not path or path.startswith(("file:", ":memory:")):
            return False
        return Path(path.partition("?")[0]).resolve().is_relative_to(self._folder.resolve())

    def check(self, uri: str) -> None:
        """Refuse to write to a file or a database that only a journal names.

        Raises:
            TrackingError: With the command that names it.
        """
        if not self.is_named(uri) and not is_server(uri):
            raise TrackingError(
                f"Journals in {self._folder} name {without_secrets(uri)!r}, which is neither a "
                "server nor in the experiment's folder, and nobody else does. If it is yours: "
                f"{self.command(uri)}"
            )

    def command(self, uri: str) -> str:
        """The command that names a URI."""
        from shlex import quote

        shown = quote(without_secrets(uri))
        return f"expkit sync {quote(str(self._folder))} --tracking-uri {shown}"


def address(uri: str) -> str:
    """What of a URI says where it leads: two spellings of one address are equal.

    >>> address("HTTP://me:secret@Host:80/x/") == address("http://host/x")
    True
    """
    bare = without_credentials(uri)
    parts = urllib.parse.urlsplit(bare)
    try:
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return bare
    if parts.hostname is None or not is_server(bare.lower()):
        return bare
    return f"{parts.scheme}://{parts.hostname}:{port}{parts.path.rstrip('/')}?{parts.query}"


def answers_401(server: str) -> bool:
    """Whether a server refuses a plain request with 401 or 403.

    MLflow's client does not keep the status of an answer that is JSON of another form.
    """
    from urllib.error import HTTPError
    from urllib.request import urlopen

    try:
        urlopen(f"{server.rstrip('/')}/api/2.0/mlflow/experiments/get?experiment_id=0", timeout=5)
    except HTTPError as error:
        return error.code in (401, 403)
    except (OSError, ValueError):
        return False
    return False


@contextlib.contextmanager
def without_own_credentials(environ: Mapping[str, str] | None = None) -> Iterator[None]:
    """For the length of a block this process has no credentials that MLflow's client could send.

    The client takes them from the environment at each request (MLFLOW_TRACKING_*, also plugins for
    authentication and client certificates; those of clouds for an artifact store), from files in
    the home directory (~/.mlflow/credentials, ~/.netrc, ~/.aws, ~/.databrickscfg), and from plugins
    that add headers. It follows no redirect.

    Args:
        environ: The environment to start from; by default that of this process.
    """
    from mlflow.tracking.request_header import registry

    with _environment_lock, tempfile.TemporaryDirectory(prefix="expkit-") as home:
        before = dict(os.environ)
        headers = registry.resolve_request_headers
        neutral = {
            name: value
            for name, value in (before if environ is None else environ).items()
            if name in _NEUTRAL
        }
        neutral |= {
            "HOME": home,
            "USERPROFILE": home,
            "NETRC": os.devnull,
            "MLFLOW_ALLOW_HTTP_REDIRECTS": "false",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        try:
            _replace_environment(neutral)
            registry.resolve_request_headers = lambda request_headers=None: {
                "User-Agent": "expkit-mlflow",
                **(request_headers or {}),
            }
            yield
        finally:
            registry.resolve_request_headers = headers
            _replace_environment(before)


def _replace_environment(values: Mapping[str, str]) -> None:
    for name in os.environ.keys() - values.keys():
        del os.environ[name]
    os.environ.update(values)


def check_artifact_place(artifact_uri: str, *, server: str) -> None:
    """Refuse the place that a server which only a journal names gives for artifacts elsewhere.

    Args:
        artifact_uri: What the server says, such as `mlflow-artifacts:/1/RUN/artifacts`.
        server: The server.

    Raises:
        TrackingError: If it is a file, a bucket or another server.
    """
    place = urllib.parse.urlsplit(artifact_uri)
    here = urllib.parse.urlsplit(server)
    if place.scheme == "mlflow-artifacts" and place.netloc in ("", here.netloc):
        return
    raise TrackingError(
        f"{without_secrets(server)} asks for artifacts in {without_secrets(artifact_uri)!r}, which "
        "is not on that server, and only journals name it. Nothing was written there."
    )


def check_inside(artifact_uri: str, artifacts: Path) -> None:
    """Refuse the place that an embedded store, a file of the results folder, gives elsewhere.

    Raises:
        TrackingError: If it is not in the experiment's folder of artifacts.
    """
    place = urllib.parse.urlsplit(artifact_uri)
    path = os.path.normpath(urllib.parse.unquote(place.path))
    if place.scheme in ("", "file") and not place.netloc and Path(path).is_relative_to(artifacts):
        return
    raise TrackingError(
        f"{artifacts.parent / 'mlflow.db'} keeps artifacts in {without_secrets(artifact_uri)!r}, "
        f"which is not in {artifacts}. Nothing was written there."
    )
