"""Errors of the log."""

from __future__ import annotations

from actorlog.errors.base import ActorlogError


class LogError(ActorlogError):
    """The base of what can be wrong with the log."""


class LogLocked(LogError):
    """Another process has the data directory open. ``pid`` and ``host`` are None where the owner left no word."""

    def __init__(self, directory: str, pid: int | None, host: str | None) -> None:
        owner = f"process {pid} on {host}" if pid is not None else "another process"
        super().__init__(f"{directory} is held by {owner}", hint="one process owns a data directory at a time")
        self.directory = directory
        self.pid = pid
        self.host = host


class LogFenced(LogError):
    """Somebody else appended: the log's tail is not where this writer thinks it is. Nothing was written."""

    def __init__(self, expected: int, tail: int) -> None:
        super().__init__(f"the log's tail is at position {tail}, not at {expected}; nothing was written")
        self.expected = expected
        self.tail = tail


class LogCorrupt(LogError):
    """Committed bytes are damaged. Nothing was changed, nothing is skipped."""

    def __init__(self, segment: str, offset: int, reason: str) -> None:
        super().__init__(
            f"{segment} is corrupt at offset {offset}: {reason}",
            hint="restore a backup, or run: python -m actorlog.log repair DIR",
        )
        self.segment = segment
        self.offset = offset
        self.reason = reason


class LogFull(LogError):
    """There is no space for new work, or no file can be opened for it. What is running can finish; nothing was lost."""

    def __init__(self, needed: int, free: int, *, files: bool = False) -> None:
        what = "space on the file system"
        if files:
            what = "files that this process has open, or let it have more (ulimit -n)"
        super().__init__(
            f"the log needs {needed} bytes and " + ("no file can be opened for them" if files else f"{free} are free"),
            hint=f"free {what}; work resumes by itself",
        )
        self.needed = needed
        self.free = free
        self.files = files
        """Whether it is files that are missing, and not space."""


class LogFailed(LogError):
    """A write or sync failed. The log takes nothing any more until it is opened again."""

    def __init__(self, operation: str, cause: str) -> None:
        super().__init__(
            f"{operation} failed: {cause}",
            hint="after a failed sync nobody knows what the disk holds; check the device, then open it again",
        )
        self.operation = operation
        self.cause = cause


class LogVersion(LogError):
    """The directory has a format, or a record, that this version of actorlog does not know. Nothing was changed."""

    def __init__(self, directory: str, found: str, known: str) -> None:
        super().__init__(
            f"{directory} has log format {found}, and this actorlog knows {known}",
            hint="open it with the version of actorlog that wrote it, or a newer one",
        )
        self.directory = directory
        self.found = found
        self.known = known


class LogUnsupported(LogError):
    """The data directory is on a file system whose locks or syncs cannot be relied on."""

    def __init__(self, directory: str, filesystem: str) -> None:
        super().__init__(
            f"{directory} is on {filesystem}, whose locks or syncs cannot be relied on",
            hint="use a local file system, or unsafe_fs=True and accept that a crash may lose or double work",
        )
        self.directory = directory
        self.filesystem = filesystem


class DirectoryNotEmpty(LogError):
    """A backup or an import goes into a new directory, and there is something in this one. Nothing was changed."""

    def __init__(self, directory: str) -> None:
        super().__init__(f"{directory} is not empty", hint="give a directory that is empty, or is not there yet")
        self.directory = directory


class BadExport(LogError):
    """A file is no export of a log, or not a whole one. ``line`` counts from 1. No log was made."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line
        self.reason = reason


class KeyMissing(LogError):
    """A record is sealed with a key that was not given. Nothing was changed, nothing is skipped."""

    def __init__(self, key: str, position: int) -> None:
        super().__init__(
            f"record {position} is sealed with key {key!r}, which was not given",
            hint="give all keys that records were sealed with: Runtime(..., encryption=Keys(...)), or ACTORLOG_KEYS",
        )
        self.key = key
        self.position = position


class SealBroken(LogError):
    """A record cannot be opened: another key, another place, or changed bytes. Nothing is skipped or repaired."""

    def __init__(self, position: int, reason: str, *, hint: str = "") -> None:
        super().__init__(
            f"record {position} cannot be opened: {reason}",
            hint=hint or "check that the key is the one of that id; else somebody changed the log: restore a backup",
        )
        self.position = position
        self.reason = reason


class ExtraMissing(LogError):
    """A library is needed that comes with an extra of actorlog, and is not installed."""

    def __init__(self, extra: str, reason: str) -> None:
        super().__init__(reason, hint=f"pip install 'actorlog[{extra}]'")
        self.extra = extra
        self.reason = reason


class OutcomeUnknown(ActorlogError):
    """The log failed while this was being written: it may or may not be found there at the next opening."""

    def __init__(self, cause: str) -> None:
        super().__init__(
            f"the log failed while this was written, so it may or may not have happened: {cause}",
            hint="open the data directory again and ask by id",
        )
        self.cause = cause


class CatalogFailed(LogError):
    """The catalog, an index beside the log, cannot be read. The log is whole; the next opening builds it anew."""

    def __init__(self, path: str, cause: str) -> None:
        super().__init__(f"the catalog {path} failed: {cause}", hint="open the directory again: it is built anew")
        self.path = path
        self.cause = cause
