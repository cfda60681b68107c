"""Read fenced blocks and links out of Markdown."""

import re
from dataclasses import dataclass

FENCE = re.compile(r"^```(\w+)(?: ([^\n]+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the name after it (or ""), text, and line of the fence."""

    language: str
    name: str
    text: str
    line: int


def blocks(text: str, language: str | None = None) -> list[Block]:
    """The fenced blocks of a page, or those of one language."""
    all_blocks = [
        Block(match[1], match[2] or "", match[3], text[: match.start()].count("\n") + 1)
        for match in FENCE.finditer(text)
    ]
    return [block for block in all_blocks if language in (None, block.language)]


def relative_links(text: str) -> list[str]:
    """Targets of the links that are not URLs, without their anchors."""
    targets = [target.partition("#")[0] for target in LINK.findall(FENCE.sub("", text))]
    return [target for target in targets if target and not re.match(r"[a-z]+:", target)]
