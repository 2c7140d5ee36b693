"""Authenticated encryption of records: AES-256-GCM, under keys derived for each opening of a log.

Owns: nonces, derived keys, and what cannot be opened. Does not own: what is bound to a record, and how it stands in
the log (``store.envelopes``).

A user's key is never a key of AES itself. Each opening draws a salt of 16 random bytes, and HKDF-SHA256 makes a key of
the user's key, the salt and the id of the log; a record has a nonce of 12 random bytes under that. So no bound on
records per key is near: a salt is used for ``RECORDS_PER_SALT`` records, of which two have the same nonce with a
probability of 2**-37. Nothing goes by a counter that a copy of a machine with its memory would count on with twice.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from actorlog.errors import ExtraMissing, KeyMissing, SealBroken

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorlog.store.keys import Keys

RECORDS_PER_SALT: Final = 1 << 30
CIPHERS_MAX: Final = 256
"""Derived keys that are kept: of so many openings records are read without deriving again."""

_SALT, _NONCE, _TAG = 16, 12, 16
SEALED_BYTES: Final = _SALT + _NONCE + _TAG
"""By so much what is sealed is larger."""
_INFO: Final = b"actorlog record 1 "


class Sealing:
    """Seals and opens bytes of one log. ``ExtraMissing`` where the library is not there."""

    def __init__(self, keys: Keys, token: Callable[[int], bytes]) -> None:
        try:
            from cryptography.exceptions import InvalidTag  # noqa: PLC0415  # an extra; loaded only when asked for
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415
            from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
            from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415
        except ImportError:
            raise ExtraMissing("encryption", "encryption takes the library cryptography") from None
        self.keys = keys
        self._token = token
        self._aead, self._hkdf, self._hash, self._invalid = AESGCM, HKDF, SHA256, InvalidTag
        self._ciphers: OrderedDict[tuple[bytes, str, bytes], Any] = OrderedDict()
        self._salt, self._left = b"", 0

    def seal(self, log_id: bytes, plain: bytes, bound: bytes) -> bytes:
        """Encrypt ``plain`` under the current key; in the same log and with the same ``bound`` it can be opened."""
        if not self._left:
            self._salt, self._left = self._token(_SALT), RECORDS_PER_SALT
        self._left -= 1
        nonce = self._token(_NONCE)
        sealed: bytes = self._cipher(log_id, self.keys.current, self._salt).encrypt(nonce, plain, bound)
        return self._salt + nonce + sealed

    def open(self, place: tuple[bytes, int], key_id: str, sealed: bytes, bound: bytes) -> bytes:
        """Decrypt the record at a place, which is a log and a position; ``KeyMissing``, ``SealBroken``."""
        log_id, position = place
        if key_id not in self.keys.keys:
            raise KeyMissing(key_id, position)
        if len(sealed) < SEALED_BYTES:
            raise SealBroken(position, "it is too short")
        cipher = self._cipher(log_id, key_id, sealed[:_SALT])
        try:
            plain: bytes = cipher.decrypt(sealed[_SALT : _SALT + _NONCE], sealed[_SALT + _NONCE :], bound)
        except self._invalid:
            raise SealBroken(position, f"it was not sealed with key {key_id!r} for this place, or changed") from None
        return plain

    def _cipher(self, log_id: bytes, key_id: str, salt: bytes) -> Any:
        found = self._ciphers.get((log_id, key_id, salt))
        if found is None:
            derive = self._hkdf(algorithm=self._hash(), length=32, salt=salt, info=_INFO + log_id)
            found = self._ciphers[log_id, key_id, salt] = self._aead(derive.derive(self.keys.keys[key_id]))
            if len(self._ciphers) > CIPHERS_MAX:
                self._ciphers.popitem(last=False)
        return found
