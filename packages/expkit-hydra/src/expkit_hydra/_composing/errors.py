"""The one public error of expkit-hydra, and what Hydra and OmegaConf refuse as one sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from hydra.errors import CompactHydraException

from expkit_bookkeeping.launching import printable, without_known_secrets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from omegaconf import DictConfig

_NOISE = ("full_key:", "object_type=", "reference_type=", "See https://", "Config search path:")

_FULL_KEY = re.compile(r"^\s*full_key: (\S+)", re.MULTILINE)


class GridError(CompactHydraException, ValueError):
    """A grid that cannot be run as asked; Hydra prints the message without a traceback."""

    def __str__(self) -> str:
        # It may quote what runs have recorded, and goes to a terminal.
        return printable(super().__str__())


@contextmanager
def one_sentence(about: str | None = None) -> Iterator[None]:
    """Let what Hydra, OmegaConf or a YAML file refuses in a block be a GridError of one sentence.

    Hydra prints a traceback of OmegaConf's errors, and repeats the cause of its own below them.

    Args:
        about: What cannot be made, if any other error of the block says so, too.

    Raises:
        GridError: With the key, and the file or the override where they are known.
    """
    try:
        yield
        return
    except Exception as error:
        if about is not None and explanation(error) is None:
            error.add_note(f"{about}:")
        refusal = _refusal(error)
        if refusal is None:
            raise
        context = error
    if refusal is not context:
        refusal.__context__ = context
    # No cause, which Hydra would print; HYDRA_FULL_ERROR=1 shows the context.
    refusal.__cause__ = None
    refusal.__suppress_context__ = False
    raise refusal


def refuse_unresolvable(
    config: DictConfig, keys: tuple[str, ...], *, or_missing: bool = True
) -> None:
    """Refuse references that lead nowhere, at keys and below them.

    Hydra resolves its own node without the parents, so that its errors name no key.

    Args:
        config: The configuration.
        keys: The keys.
        or_missing: Whether to refuse references to `???`, too.

    Raises:
        GridError: Naming the key.
    """
    from omegaconf.errors import InterpolationToMissingValueError

    from .internals import referent
    from .nodes import node_at, references_below

    for key in keys:
        for path, node in references_below(node_at(config, key), key):
            try:
                with one_sentence():
                    try:
                        referent(node)
                    except InterpolationToMissingValueError:
                        if or_missing:
                            raise
            except GridError as error:
                reason = str(error)
                raise GridError(
                    reason if reason.startswith(path) else f"{path}: {reason}"
                ) from None


def _refusal(error: Exception) -> GridError | None:
    """The error of one sentence; None for one that is not about the configuration."""
    if isinstance(error, GridError):
        return error
    text = explanation(error)
    return None if text is None else GridError(without_known_secrets(text))


def explanation(error: BaseException) -> str | None:
    """What Hydra, OmegaConf or a YAML parser refuses, in one line; None for any other error."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    context = " ".join(getattr(error, "__notes__", ()))  # of the composer: which run it is
    if isinstance(error, OmegaConfBaseException):
        text = _of_omegaconf(error)
    elif isinstance(error, YAMLError):
        text = _of_yaml(error)
    elif isinstance(error, HydraException):
        text = _of_hydra(error)
    elif context:
        text = f"{type(error).__name__}: {_one_line(str(error))}"
    else:
        return None
    return f"{context} {text}" if context else text


def _of_omegaconf(error: BaseException) -> str:
    reason = _one_line(str(error))
    key = getattr(error, "full_key", None)
    return f"{key}: {reason}" if key else reason


def _of_yaml(error: BaseException) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or _one_line(str(error))
    return f"{mark.name}, line {mark.line + 1}: {problem}" if mark else str(problem)


def _of_hydra(error: BaseException) -> str:
    text = _one_line(str(error))
    key = _FULL_KEY.search(str(error))  # of OmegaConf's message, where it holds one
    if key is not None and key[1] not in text:
        text = f"{text} ({key[1]})"
    override = getattr(error, "override", None)
    if override and override not in text:
        text = f"{override}: {text}"
    cause = error.__cause__
    missing = getattr(cause, "full_key", None)
    reason = None if cause is None else explanation(cause)
    # "Could not override 'lr'. To append to your config use +lr=1" has said it.
    if reason is None or reason in text or (missing and f"'{missing}'" in text):
        return text
    return f"{text.rstrip('.:')}: {reason}" if text else reason


def _one_line(text: str) -> str:
    r"""The lines of a message as one, without those that repeat its key and what has been searched.

    >>> _one_line("Could not find 'model/x'\\n\\nAvailable options in 'model':\\n\\tcnn\\n\\tmlp")
    "Could not find 'model/x'. Available options in 'model': cnn, mlp"
    """
    sentences: list[str] = []
    for line in text.splitlines():
        part = line.strip()
        if part.startswith("Config search path:"):
            break
        if not part or part.startswith(_NOISE):
            continue
        if line.startswith("\t") and sentences:
            joint = " " if sentences[-1].endswith(":") else ", "
            sentences[-1] += f"{joint}{part}"
        else:
            sentences.append(part)
    return " ".join([*[_ended(part) for part in sentences[:-1]], *sentences[-1:]])


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith((".", ":", "?", "!", ",")) else f"{sentence}."
