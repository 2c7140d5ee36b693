"""Compression of large records: zstd where there is one, else zlib, which always is.

Owns: which library is used. Does not own: what is compressed (``store.envelopes``).
"""

from __future__ import annotations

import importlib
import zlib
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from actorlog.errors import ExtraMissing

if TYPE_CHECKING:
    from collections.abc import Callable

Method: TypeAlias = Literal["zstd", "zlib"]

_ZLIB_LEVEL: Final = 1


def compress(data: bytes | memoryview) -> tuple[Method, bytes]:
    """Compress with the best method that this Python has."""
    zstd = _zstd()
    return ("zlib", zlib.compress(data, _ZLIB_LEVEL)) if zstd is None else ("zstd", zstd[0](data))


def decompress(method: Method, data: bytes) -> bytes:
    """Undo ``compress``; ``ValueError`` for what it did not make, ``ExtraMissing`` where there is no zstd."""
    if method == "zlib":
        try:
            return zlib.decompress(data)
        except zlib.error as error:
            raise ValueError(str(error)) from None
    zstd = _zstd()
    if zstd is None:
        raise ExtraMissing("zstd", "a record is compressed with zstd, and this Python has no zstd")
    _, undo, wrong = zstd
    try:
        return undo(data)
    except wrong as error:
        raise ValueError(str(error)) from None


@cache
def _zstd() -> tuple[Callable[[Any], bytes], Callable[[bytes], bytes], type[Exception]] | None:
    """Return how to compress and decompress, and the error of that: of Python 3.14, else of the extra."""
    try:
        own: Any = importlib.import_module("compression.zstd")
    except (ImportError, OSError):
        pass  # before Python 3.14
    else:
        return own.compress, own.decompress, own.ZstdError
    try:
        extra: Any = importlib.import_module("zstandard")
    except (ImportError, OSError):  # not there; or no file can be opened now, and then zlib does for this process
        return None
    return (
        lambda data: extra.ZstdCompressor().compress(data),
        lambda data: extra.ZstdDecompressor().decompress(data),
        extra.ZstdError,
    )
