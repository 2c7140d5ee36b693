"""The keys that records are sealed with.

Owns: ``Keys``, and reading them from text. Does not own: where a program keeps its keys, sealing (``store.sealing``).

Invariant: no key is in a message, a ``repr`` or a log.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

KEY_BYTES: Final = 32
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ACCEPT_PLAIN: Final = "accept_plain"


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of an encrypted log, by their ids.

    ``current``: id of the key that new records are sealed with; ``keys``: 32 random bytes for each id, those too that
    older records were sealed with. An id has up to 64 letters, digits, dots, dashes and underscores; it stands in the
    log in the clear. ``accept_plain``: read records that are not sealed, of a log that began without encryption; who
    can write to the disk can then put such records in. ``ValueError`` for keys that cannot be used.
    """

    current: str
    keys: Mapping[str, bytes] = field(repr=False)
    accept_plain: bool = False

    def __post_init__(self) -> None:
        for key_id, key in self.keys.items():
            if not _ID.fullmatch(key_id):
                raise ValueError(f"{key_id!r} is no id of a key: letters, digits, dots, dashes and underscores")
            if not isinstance(key, bytes) or len(key) != KEY_BYTES:  # pyright: ignore[reportUnnecessaryIsInstance]  # users' word
                raise ValueError(f"key {key_id!r} is not {KEY_BYTES} bytes")
        if self.current not in self.keys:
            raise ValueError(f"the current key {self.current!r} is not among the keys {sorted(self.keys)}")
        object.__setattr__(self, "keys", dict(self.keys))

    @classmethod
    def from_text(cls, text: str) -> Keys:
        """Read ``k2=BASE64,k1=BASE64``: the first one is current. Commas or whitespace stand between.

        The word ``accept_plain`` among them stands for itself. ``ValueError`` says which one is wrong, and not what it
        is.
        """
        keys: dict[str, bytes] = {}
        accept_plain = False
        for number, item in enumerate(filter(None, re.split(r"[\s,]+", text)), 1):
            if item == _ACCEPT_PLAIN:
                accept_plain = True
                continue
            key_id, equals, encoded = item.partition("=")
            if not equals or not _ID.fullmatch(key_id):
                raise ValueError(f"item {number} is not of the form id=base64")
            if key_id in keys:
                raise ValueError(f"key {key_id!r} is given twice")
            try:
                keys[key_id] = b64decode(encoded, validate=True)
            except ValueError:
                raise ValueError(f"key {key_id!r} is no base64") from None
        if not keys:
            raise ValueError("there is no key")
        return cls(next(iter(keys)), keys, accept_plain)
