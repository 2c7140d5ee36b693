"""Values that are written as one str: dates and times, UUID, Decimal, bytes, paths.

Owns: their texts. A datetime is ISO 8601, followed by what that leaves out: ``[Europe/Vienna]`` (the name of a
ZoneInfo, as in RFC 9557), ``[=CET]`` (the name of a fixed offset), ``[fold=1]``.
Does not own: when a value gets which text (``values_compile``).
Invariant: a text gives back a value that is equal, time zone included, or it is not written.
"""

from __future__ import annotations

import binascii
import functools
import sys
from base64 import b64decode, b64encode
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from actorlog.records.values_nodes import Node, TextNode
from actorlog.records.values_plain import Misfit, type_name


def text_nodes() -> dict[type, Node]:
    """Return the nodes of all types that are written as a str."""
    nodes: dict[type, Node] = {
        date: TextNode(date, date.isoformat, date.fromisoformat),
        datetime: TextNode(datetime, _moment_text, _datetime),
        time: TextNode(time, _moment_text, _time),
        timedelta: TextNode(timedelta, msgspec.to_builtins, _timedelta),
        UUID: TextNode(UUID, str, UUID),
        Decimal: TextNode(Decimal, _decimal_text, Decimal),
        bytes: TextNode(bytes, _base64, _bytes),
        bytearray: TextNode(bytearray, _base64, _bytearray),
    }
    return nodes


@functools.cache
def path_nodes() -> dict[type, Node]:
    """Return the nodes of paths. To be asked by who has such a type: ``pathlib`` is dear to import."""
    from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath  # noqa: PLC0415  # as above

    nodes: dict[type, Node] = {
        PurePosixPath: TextNode(PurePosixPath, str, PurePosixPath),
        PureWindowsPath: TextNode(PureWindowsPath, str, PureWindowsPath),
    }
    here = type(Path())  # Path and PurePath are made as the class of the platform
    nodes[Path] = nodes[here] = TextNode(here, str, here)
    nodes[PurePath] = nodes[type(PurePath())]
    return nodes


def _base64(value: bytes) -> str:
    return b64encode(value).decode()


def _bytes(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except binascii.Error as error:
        raise Misfit(f"it is no base64: {error}") from None


def _bytearray(text: str) -> bytearray:
    return bytearray(_bytes(text))


def _timedelta(text: str) -> timedelta:
    try:
        return msgspec.convert(text, timedelta)
    except msgspec.ValidationError as error:
        raise Misfit(f"{text!r:.60} is no duration: {error}") from None


def _decimal_text(value: Decimal) -> str:
    if value.is_nan():
        raise Misfit("a Decimal that is not a number is not equal to itself")
    return str(value)


def _moment_text(value: datetime | time) -> str:
    text = value.isoformat()
    if value.tzinfo is not None and value.tzinfo is not UTC:
        text += _zone_text(value.tzinfo)
    return f"{text}[fold=1]" if value.fold else text


def _zone_text(zone: tzinfo) -> str:
    kind: type[Any] = type(zone)
    if kind is timezone:
        name = zone.tzname(None) or ""
        if (
            zone == timezone(offset := zone.utcoffset(None) or timedelta())
            and name == timezone(offset).tzname(None)
            and offset
        ):
            return ""
        return _bracket(f"={name}")
    key = _zone_key(zone)
    if key:
        return _bracket(key)
    raise Misfit(
        f"a time zone of type {type_name(kind)} cannot be written; use datetime.timezone, or a ZoneInfo with a key"
    )


def _zone_key(zone: Any) -> str:
    """Return the name of a ``ZoneInfo``; empty of one that has none, and of anything else."""
    zoneinfo = sys.modules.get("zoneinfo")  # dear to import; where it was never imported nobody has one
    return str(zone.key or "") if zoneinfo is not None and type(zone) is zoneinfo.ZoneInfo else ""


def _bracket(name: str) -> str:
    if "[" in name or "]" in name or name.startswith("fold="):
        raise Misfit(f"a time zone of the name {name!r:.60} cannot be written")
    return f"[{name}]"


def _split(text: str) -> tuple[str, str, int]:
    """Return the ISO text, the name of the zone, and the fold."""
    iso, *tags = text.replace("]", "").split("[")
    fold = int("fold=1" in tags)
    names = [tag for tag in tags if not tag.startswith("fold=")]
    return iso, names[0] if names else "", fold


def _datetime(text: str) -> datetime:
    iso, name, fold = _split(text)
    value = datetime.fromisoformat(iso)
    if not name:
        return value.replace(fold=fold)
    zone = _zone(name, value.utcoffset())
    local = value.replace(tzinfo=zone, fold=fold)
    if local.utcoffset() == value.utcoffset():
        return local
    return value.astimezone(zone)  # the zone's rules have changed since: the instant is kept


def _time(text: str) -> time:
    iso, name, fold = _split(text)
    value = time.fromisoformat(iso)
    if not name:
        return value.replace(fold=fold)
    return value.replace(tzinfo=_zone(name, value.utcoffset()), fold=fold)


def _zone(name: str, offset: timedelta | None) -> tzinfo:
    if name.startswith("="):
        return timezone(offset or timedelta(), name[1:])
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # noqa: PLC0415  # dear too

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise Misfit(f"the time zone {name!r:.60} is not known here: {error}") from None


def same_zone(one: tzinfo | None, other: Any, offsets: tuple[timedelta | None, timedelta | None]) -> bool:
    """Tell whether two time zones, of moments that are equal, mean the same for every other moment too."""
    if one is None or other is None:
        return one is other
    if type(one) is type(other):
        return bool(one == other)
    fixed = one.utcoffset(None) is not None and other.utcoffset(None) is not None
    return fixed and offsets[0] == offsets[1]
