"""Read fenced blocks and links out of Markdown."""

import re
from dataclasses import dataclass

FENCE = re.compile(r"^```(\w+)(?: ([^\n]+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block: language, the name behind it (or ""), text, line of its fence."""

    language: str
    name: str
    text: str
    line: int


def blocks(text: str, language: str | None = None) -> list[Block]:
    """The fenced blocks of a page, of one language if one is given."""
    found = [
        Block(match[1], match[2] or "", match[3], text[: match.start()].count("\n") + 1)
        for match in FENCE.finditer(text)
    ]
    return [block for block in found if language in (None, block.language)]


def relative_links(text: str) -> list[str]:
    """Targets of links that are not addresses, without their anchors."""
    targets = [target.partition("#")[0] for target in LINK.findall(FENCE.sub("", text))]
    return [target for target in targets if target and not re.match(r"[a-z]+:", target)]
