"""Credentials, which must not get into files, tags or messages."""

import re


def without_secrets(text: str) -> str:
    """A URI, or a text that contains URIs, without user names and passwords.

    >>> without_secrets("https://me:secret@host:5000/x does not answer")
    'https://host:5000/x does not answer'
    """
    # Up to the last @ of the address: a password may contain one, unquoted.
    return re.sub(r"(?<=://)[^\s/?#'\"<>]*@", "", text)
