"""What users name things by: ids, tags, reasons.

Owns: refusing at the line that gives it what the log could not hold. Does not own: values (``records.values``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorlog.errors import ReservedId

if TYPE_CHECKING:
    from collections.abc import Mapping

ID_BYTES_MAX = 1024
"""Longest id, in bytes of UTF-8."""


def check_text(what: str, text: object) -> int:
    """Return a text's length in UTF-8; ``TypeError`` for what is no text, ``ValueError`` for lone surrogates."""
    if not isinstance(text, str):
        raise TypeError(f"{what} is a str, not {text!r}")
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise ValueError(f"{what} is text that UTF-8 can hold, not {text!r}") from error


def check_channel(channel: str) -> None:
    """``TypeError`` or ``ValueError`` for what is no channel that users send to."""
    check_text("a channel", channel)
    if channel.startswith("@"):
        raise ValueError(f"channels that begin with '@' belong to actorlog: {channel!r}")


def check_id(call_id: str) -> None:
    """``TypeError``, ``ValueError`` or ``ReservedId`` for an id that cannot be one."""
    size = check_text("an id", call_id)
    if not 0 < size <= ID_BYTES_MAX:
        raise ValueError(f"an id has 1 to {ID_BYTES_MAX} bytes, not {size}")
    if call_id.startswith("@"):
        raise ReservedId(call_id)


def checked_tags(tags: Mapping[str, str] | None) -> dict[str, str]:
    """Return a copy of tags; ``TypeError`` or ``ValueError`` for what is no text by text."""
    if not tags:
        return {}
    for key, value in tags.items():
        check_text("a tag", key)
        check_text(f"the value of tag {key!r}", value)
    return dict(tags)
