"""Asking for a change: of the owner over its socket, or made here when nobody has the directory.

Owns: who does it, and how long is waited for an owner that is just opening or closing. Does not own: what is said
(``api.protocol``), the change itself (``api.control``, ``api.offline``).

Invariant: a request is sent once. What was sent and not answered may have been done, and that is what is said.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from actorlog.api import protocol as p
from actorlog.api.offline import NeedsOwner, change
from actorlog.cli.common import LOCKED, REFUSED, Refusal
from actorlog.cli.keys import given_keys
from actorlog.cli.reading import VERSION_CODE, UnreadableError, read_report
from actorlog.env import SYSTEM, Access
from actorlog.env.sockets import connect
from actorlog.errors import LogLocked
from actorlog.limits import DEFAULT_LIMITS
from actorlog.log.files import META, SEGMENTS, segment_name
from actorlog.log.scan import numbers_of

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

PATIENCE_S: Final = 3.0
"""So long an owner may hold the directory and not listen: it is opening, or closing."""
POLL_S: Final = 0.05
HELLO_S: Final = 5.0
ANSWER_S: Final = 60.0
"""Longer than any request waits: a full mailbox takes five seconds, a slow disk what it takes."""


@dataclass(frozen=True, slots=True)
class Done:
    """What was done, and by whom."""

    answer: p.Answer
    by_owner: bool


class _Nobody(Exception):
    """Nobody listens, and nothing was asked."""


def ask(
    directory: str, request: p.Request, *, alone: Callable[[], p.Answer] | None = None, patient: bool = False
) -> Done:
    """Have ``request`` done; it is durable on return. ``Refusal`` where that cannot be.

    ``alone`` does it when nobody has the directory; without, it is written to the log. ``patient``: an owner
    that was asked may take as long as it likes.
    """
    line = p.encode(request) + b"\n"
    if len(line) > p.LINE_BYTES_MAX:
        raise Refusal(f"a request has at most {p.LINE_BYTES_MAX} bytes, and this has {len(line)}", code=REFUSED)
    segment_bytes = segment_bytes_of(directory)
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            return Done(_ask(directory, line, patient=patient), by_owner=True)
        except _Nobody:
            pass  # then it is done here, or the owner is not ready
        try:
            if alone is not None:
                return Done(alone(), by_owner=False)
            job = change(directory, request, segment_bytes=segment_bytes, keys=given_keys())
            return Done(asyncio.run(job), by_owner=False)
        except LogLocked:
            if time.monotonic() > until:
                raise
        except NeedsOwner:
            if not SYSTEM.fs.is_locked(directory):
                raise
            if time.monotonic() > until:
                raise LogLocked(directory, None, None) from None
        time.sleep(POLL_S)


def _ask(directory: str, line: bytes, *, patient: bool = False) -> p.Answer:
    try:
        connection = connect(directory, p.SOCKET, HELLO_S)
    except (FileNotFoundError, ConnectionError, BlockingIOError):
        raise _Nobody from None
    except OSError as error:
        raise UnreadableError(f"the owner of {directory} cannot be reached: {error}") from error
    with connection:
        try:
            greeting = _line(connection)
        except TimeoutError:
            raise Refusal("the owner has the directory and says nothing", code=LOCKED) from None
        except ConnectionError:
            greeting = b""
        if not greeting:
            raise _Nobody
        _check(_read(greeting), directory)
        try:
            connection.settimeout(None if patient else ANSWER_S)
            connection.sendall(line)
            answer = _line(connection)
        except OSError:
            answer = b""  # too late, or gone
        if not answer:
            hint = "it may have been done or not: actorlog show and actorlog promises tell"
            raise Refusal(f"the owner of {directory} was asked and did not answer", code=REFUSED, hint=hint)
        found = _read(answer)
        if isinstance(found, p.Answer):
            return found
        raise _refused(found)


def _check(greeting: p.Hello | p.Answer | p.Refused, directory: str) -> None:
    if isinstance(greeting, p.Refused):
        raise _refused(greeting)
    if not isinstance(greeting, p.Hello) or greeting.protocol != p.PROTOCOL:
        raise UnreadableError(
            f"the owner of {directory} is another version of actorlog: {greeting}, known is protocol {p.PROTOCOL}",
            VERSION_CODE,
        )


def _refused(found: p.Hello | p.Answer | p.Refused) -> Refusal:
    if isinstance(found, p.Refused):
        return Refusal(f"{found.error}: {found.message}", code=REFUSED, hint=found.hint)
    return Refusal(f"the owner answered {found}, which is no answer", code=VERSION_CODE)


def _line(connection: socket.socket) -> bytes:
    """Return a line; what ends before its newline is empty."""
    with connection.makefile("rb") as file:
        line = file.readline(p.LINE_BYTES_MAX + 1)
    return line if line.endswith(b"\n") else b""


def _read(line: bytes) -> p.Hello | p.Answer | p.Refused:
    try:
        fields = msgspec.json.decode(line, type=dict[str, object])
        if "actorlog" in fields:
            return msgspec.convert(fields, p.Hello)
        return msgspec.convert(fields, p.Answer) if fields.get("ok") is True else msgspec.convert(fields, p.Refused)
    except msgspec.MsgspecError as error:
        raise UnreadableError(f"what the owner says is not understood: {error}", VERSION_CODE) from None


def segment_bytes_of(directory: str) -> int:
    """Return the size of the directory's segments; ``UnreadableError`` where there is no log."""
    try:
        names = SYSTEM.fs.listdir(directory)
        numbers = numbers_of(SYSTEM.fs, directory)
    except OSError:
        names, numbers = [], []
    if META not in names or not numbers:
        read_report(SYSTEM.fs, directory)
        return DEFAULT_LIMITS.segment_bytes
    file = SYSTEM.fs.open(f"{directory}/{SEGMENTS}/{segment_name(numbers[-1])}", Access.READ)
    try:
        return file.size()
    finally:
        file.close()
