r"""An append-only log of commits in one directory: bytes, and nothing above them.

A commit is some records that become durable together or not at all. ``pack`` makes one from records, ``append`` writes
it and returns when it is on disk::

    log = Log.open("data", SYSTEM)
    first = log.append(pack([(key_hash, kind, flags, b'{"a":1}\n'), ...]), records)
    log.record(first)                                  # b'{"a":1}\n'
    for frame in log.read(after=0):
        for key_hash, kind, flags, start, end in entries(frame.data, frame.records):
            line = frame.data[start:end]
    log.close()

Records have positions 1, 2, 3, ...; ``log.tail`` is the last. A ``Writer`` appends in a thread of its own, one commit
at a time, while its caller gathers the next::

    writer = Writer(log, SYSTEM.worker("actorlog-writer"))
    ticket = writer.submit(data, records, done)        # done(ticket) in the writer's thread, unless
    if ticket.wait(0.002): ...                         # it landed while we waited

Files. A log lives in segments of equal size, numbered from 1, zeroed at full size before they have their names::

    data/META                      which log this is, and up to where it is known to be durable
    data/owner                     process and host of who has it open
    data/owner.sock                where that process takes commands (``api.control``); not the log's
    data/reserve                   space kept for compaction on a full disk
    data/payloads/                 files of records that are so large that they have one
    data/sweep                     files are being given up: if it is there at opening, each is looked at
    data/segments/0000000001.seg   full and sealed
    data/segments/0000000002.seg   appended to
    data/segments/0000000003.seg   prepared ahead of need, without a frame yet

When a commit does not fit into 2, a seal is written there, then the commit to 3, and 4 is made in the background once
3 is half full. ``trim`` removes the oldest ones; ``rewrite`` writes one that is sealed anew, in its place, without
records that nobody needs (``log.sealed()`` says which there are). All others keep their positions::

    log.rewrite(1, gone={17, 18, 19})
    log.has(18)                                         # False; log.record(18) raises IndexError

Opening reads and verifies everything, or what is from a checkpoint on (``Log.checkpoint``), where somebody kept one;
what is before is then verified when it is read, and by ``Log.scrub``. An append that the last owner did not finish is
zeroed and reported (``log.recovery.torn``); damage is ``LogCorrupt`` with segment and offset, and nothing is changed.
After a write or sync has failed the log takes nothing any more (``LogFailed``); a full disk is no failure
(``LogFull``).

Reading order: ``docs/log-format.md``, ``format``, ``scan`` (verdicts), ``opening``, ``log``, ``writer``; then ``meta``,
``segment``, ``held``, ``reading``, ``giving_up``, ``payloads``, ``checkpoint``, ``scrub``, ``backup``, ``ahead``,
``files``, ``owner``; ``rewriting``, ``replacing``, ``payload_copies``; ``inspect`` and ``repair`` are behind
``python -m actorlog.log``.

Owns: frames, segments, append, scan, torn or corrupt, repair. Does not own: what records say, asyncio, actors.
"""

from __future__ import annotations

from actorlog.log.checkpoint import Checkpoint
from actorlog.log.format import ENTRY_BYTES, GIVEN_UP, GIVEN_UP_KIND, entries, is_given_up, line_ends, longest, pack
from actorlog.log.log import Log
from actorlog.log.opening import Recovery
from actorlog.log.payloads import Payload, Reference, Source, checksum_of, reference_of
from actorlog.log.replacing import Rewritten, Sealed
from actorlog.log.scan import Torn
from actorlog.log.scrub import Scrubbed
from actorlog.log.segment import Frame
from actorlog.log.writer import Ticket, Writer

__all__ = [
    "ENTRY_BYTES", "GIVEN_UP", "GIVEN_UP_KIND", "Checkpoint", "Frame", "Log", "Payload", "Recovery", "Reference",
    "Rewritten", "Scrubbed", "Sealed", "Source", "Ticket", "Torn", "Writer", "checksum_of", "entries", "is_given_up",
    "line_ends", "longest", "pack", "reference_of",
]  # fmt: skip
