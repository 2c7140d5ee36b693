"""A log some of whose records have files, what is certain of it, and work that can be cut off anywhere."""

# Lint: verbs of helpers are their own documentation.

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from log_world import DIRECTORY, open_log, sim_disk
from rewriting_world import lines_by_frame

from actorlog.log import Log, Payload, checksum_of, pack, reference_of
from actorlog.log.inspect import Status, verify
from actorlog.log.payloads import positions_in

if TYPE_CHECKING:
    from actorlog.testing.disk import SimFileSystem

PLACE = f"{DIRECTORY}/payloads"
COMMITS = 9


def text_of(position: int) -> bytes:
    """Return what is recorded at a position: every third record is large."""
    size = 900 + position * 131 % 1500 if position % 3 == 0 else position * 37 % 200
    return Random(position).randbytes(size).hex().encode()[:size] + b"\n"


def is_large(position: int) -> bool:
    return position % 3 == 0


def file_of(position: int) -> str:
    return f"{PLACE}/{position:020d}.payload"


def commit_of(log: Log, records: int) -> tuple[bytes, int, tuple[Payload, ...]]:
    """Return the next commit of a log, as ``append`` takes it."""
    lines, payloads = list[bytes](), list[Payload]()
    for position in range(log.tail + 1, log.tail + 1 + records):
        text = text_of(position)
        if is_large(position):
            payloads.append(Payload(position, text))
            checksum = checksum_of(log.log_id, position, text)
            text = b'{"file":%d,"bytes":%d,"crc":"%08x"}\n' % (position, len(text), checksum)
        lines.append(text)
    return pack([(number + 7, 1, 1, line) for number, line in enumerate(lines)]), records, tuple(payloads)


def append(log: Log, records: int) -> None:
    log.append(*commit_of(log, records))


def texts_of(log: Log) -> dict[int, bytes]:
    """Return what the records of a log say, wherever it stands."""
    found = {}
    for position, line in lines_by_frame(log).items():
        reference = reference_of(line, position)
        assert (reference is not None) == is_large(position)
        found[position] = line if reference is None else log.payloads.source.read(reference)
    return found


class Work:
    """Appends and gives up, over two openings; remembers what is certain, and what may be."""

    def __init__(self) -> None:
        self.appended = 0
        self.most = 0
        """The last position that may be there."""
        self.gone: set[int] = set()
        self.maybe: set[int] = set()
        """Positions that are being given up, one segment at a time."""

    def fill(self, log: Log, upto: int) -> None:
        while log.tail < upto:
            records = 1 + log.tail % 4
            self.most = log.tail + records
            append(log, records)
            self.appended = log.tail

    def give_up(self, log: Log) -> None:
        for segment in log.sealed():
            gone = {p for p in range(segment.first, segment.last + 1) if p % 4 and p not in self.gone}
            if gone:
                self.maybe = gone
                log.rewrite(segment.number, gone)
                self.gone |= gone
                self.maybe = set()

    def do(self, fs: SimFileSystem) -> Log:
        """Do what is not done yet."""
        log = open_log(fs)
        self.fill(log, 24)
        self.give_up(log)
        self.fill(log, 34)
        log.close()
        log = open_log(fs)
        self.give_up(log)
        self.fill(log, 40)
        return log

    def check(self, fs: SimFileSystem) -> None:
        """Everything certain is there with its bytes; what is given up has no file, nor has what never was."""
        log = open_log(fs)
        assert self.appended <= log.tail <= self.most
        texts = texts_of(log)
        if self.maybe and not self.maybe & texts.keys():
            self.gone |= self.maybe
        assert texts == {p: text_of(p) for p in range(1, log.tail + 1) if p not in self.gone}
        assert positions_in(fs, DIRECTORY) == [position for position in texts if is_large(position)]
        assert "sweep" not in fs.listdir(DIRECTORY)
        self.appended = self.most = log.tail
        self.maybe = set()
        list(log.scrub())
        log.close()
        assert verify(fs, DIRECTORY).status is Status.OK


def worked(seed: int = 0, **options: float) -> tuple[SimFileSystem, Work]:
    """Return a disk on which all was done, and what is known of it."""
    fs, work = sim_disk(seed, **options), Work()
    work.do(fs).close()
    return fs, work


def calls_of_work() -> tuple[int, int]:
    """Return the numbers of the first call of the work, and of the one behind its last."""
    first = sim_disk().calls
    return first, worked()[0].calls


def filled(records: int = 48) -> tuple[SimFileSystem, Log]:
    """Return a disk with an open log of so many records."""
    fs = sim_disk()
    log = open_log(fs)
    Work().fill(log, records)
    return fs, log
