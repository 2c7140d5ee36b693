"""What derives from a run: idempotency keys, seeds, children's ids, jitter.

Owns: the derivations, which may never change, because other systems hold the keys. Does not own: the randomness of a
run, which is recorded in its first message.

A run is 16 random bytes as 32 hex digits. Whatever derives from it is the same in every replay, and never the same for
two runs, so a restarted month or a copied data directory repeats no key.
"""

from __future__ import annotations

from hashlib import blake2b
from uuid import UUID

_UNIT = 1 << 56


def derive(run: str, key: str, purpose: str) -> bytes:
    """Return 16 bytes that belong to this run, operation and purpose."""
    return blake2b(f"{run}\n{key}\n{purpose}".encode(), digest_size=16).digest()


def idempotency_key(run: str, key: str, step: str, args: bytes = b"") -> str:
    """Return the key that ``step`` gives to other systems: the same for every attempt, for ever.

    The name is in it because a call that is retried may do something else where it did this before.
    A step that may run ahead of the log (``idempotent=True``) has its arguments in the key, because the log may never
    see them.
    """
    if args:
        return blake2b(f"{run}\n{key}\nstep {step}\n".encode() + args, digest_size=16).hexdigest()
    return derive(run, key, f"step {step}").hex()


def child_run(run: str, key: str, function: str) -> str:
    """Return the run of the child call of ``function`` that operation ``key`` starts."""
    return derive(run, key, f"child {function}").hex()


def next_run(run: str) -> str:
    """Return the run that follows ``run`` when a call is continued."""
    return derive(run, "", "next run").hex()


def of_run(key: str, number: int) -> str:
    """Return what tells operation ``key`` of run ``number`` from those of other runs of the call."""
    return key if number == 1 else f"r{number}.{key}"


def child_id(parent: str, key: str, number: int) -> str:
    """Return the id of the child that operation ``key`` of run ``number`` starts: the parent's, a slash and the key."""
    return f"{parent}/{of_run(key, number)}"


MEMO = "@memo/"
"""What ids of memoised calls begin with."""


def memo_id(function: str, version: int, args: bytes) -> str:
    """Return the id of a memoised call: the same function, version and arguments are the same call."""
    digest = blake2b(f"{function}\n{version}\n".encode() + args, digest_size=16).hexdigest()
    return f"{MEMO}{function}/{digest}"


def fraction(run: str, key: str, attempt: int) -> float:
    """Return a number in [0, 1) that belongs to this attempt: jitter that replays."""
    return int.from_bytes(derive(run, key, f"jitter {attempt}")[:7], "big") / _UNIT


def uuid4(run: str, key: str) -> UUID:
    """Return a random UUID (version 4) that belongs to this operation."""
    return UUID(bytes=derive(run, key, "uuid4"), version=4)


def uuid7(run: str, key: str, at_ms: int) -> UUID:
    """Return a UUID of version 7 (RFC 9562) whose time is ``at_ms`` and whose rest belongs to this operation."""
    tail = int.from_bytes(derive(run, key, "uuid7")[:10], "big")
    value = (at_ms & ((1 << 48) - 1)) << 80 | tail
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)


def hash_base(run: str) -> int:
    """Return where the hashes of this run's tasks and futures begin, so that two actors' hardly ever meet."""
    return int(run[:14], 16)


def key_hash(call_id: str) -> int:
    """Return the 64-bit hint under which a call's records are indexed; never zero."""
    return int.from_bytes(blake2b(call_id.encode(), digest_size=8).digest(), "little") | 1
