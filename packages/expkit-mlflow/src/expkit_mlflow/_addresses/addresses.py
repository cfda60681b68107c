"""Which addresses the user has named, and which of the others may be used at all.

A journal lies in a results folder, which is data, whoever wrote it: a server that only a journal
names gets what is in the folder, and nothing of the user's own.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterable
from pathlib import Path

from .command_lines import command_line
from .errors import TrackingError
from .secrets import remember_secrets, uri_secrets, uri_without_secrets, without_credentials
from .uris import absolute_uri, is_server, sqlite_path


class NamedAddresses:
    """The tracking URIs that the user has named, each by its address.

    Args:
        uris: From the command line, the environment or the configuration; empty ones are left out.
            Of two with the same address the last one with credentials counts, else the first one.
        folder: The experiment's folder: an SQLite file in it needs nobody to name it.
    """

    def __init__(self, uris: Iterable[str | None], folder: Path) -> None:
        self._folder = folder
        self._named: dict[str, str] = {}
        for uri in filter(None, uris):
            if address(uri) not in self._named or _bare(uri) != uri:
                self._named[address(uri)] = absolute_uri(uri)
        for uri in self._named.values():
            remember_secrets(uri_secrets(uri))

    def full_uri(self, uri: str) -> str:
        """The named URI with this address, credentials included; else the bare address."""
        return self._named.get(address(uri), _bare(uri))

    def is_named(self, full_uri: str) -> bool:
        """Whether the user has named a URI; the embedded store, an empty text, needs no name.

        Args:
            full_uri: What `full_uri` returned: another spelling of a named URI is not one.
        """
        return full_uri == "" or full_uri in self._named.values()

    def naming_command(self, full_uri: str) -> str | None:
        """The command with which the user names a URI; None if they have.

        Raises:
            TrackingError: If they have not, and it is a file or a database elsewhere, to which
                nothing may be written then.
        """
        if self.is_named(full_uri):
            return None
        shown = uri_without_secrets(full_uri)
        command = command_line("sync", self._folder, "--tracking-uri", shown)
        if not (is_server(full_uri) or self._is_in_folder(full_uri)):
            raise TrackingError(
                f"Journals in {self._folder} name {shown!r}, which is neither a server nor an "
                f"SQLite file in the experiment's folder, and nobody else does. If it is yours: "
                f"{command}",
                lasts=True,
            )
        return command

    def _is_in_folder(self, uri: str) -> bool:
        path = sqlite_path(uri)
        if path is None:
            return False
        try:
            return path.resolve().is_relative_to(self._folder.resolve())
        except (OSError, ValueError, RuntimeError):  # no path at all, or a loop of links
            return False


def address(uri: str) -> str:
    """What of a URI says where it leads: two spellings of one address are equal.

    Examples:
        >>> address("HTTP://me:secret@Host:80/x/") == address("http://host/x")
        True
    """
    bare = _bare(uri)
    path = sqlite_path(bare)
    try:
        if path is not None:
            return f"sqlite:///{path.resolve()}?{bare.partition('?')[2]}"
        parts = urllib.parse.urlsplit(bare)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except (OSError, ValueError, RuntimeError):  # no URI, or a loop of links
        return bare
    if parts.hostname is None or not is_server(bare):
        return bare
    return f"{parts.scheme}://{parts.hostname}:{port}{parts.path.rstrip('/')}?{parts.query}"


def _bare(uri: str) -> str:
    """The URI without credentials, also where some are left when others are taken away."""
    while (bare := without_credentials(uri)) != uri:
        uri = bare
    return bare
