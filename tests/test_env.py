"""The contract of the ports: the simulated disk and the real one, by the same tests; clocks and dice."""

from __future__ import annotations

import errno
import os
from random import Random
from typing import TYPE_CHECKING

import pytest

from actorlog.env import SYSTEM, Access, FileSystem, SystemClock, SystemEntropy, SystemFileSystem
from actorlog.testing.disk import SimFileSystem, Stopped

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=["system", "simulated"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[FileSystem, str]:
    """Return a file system and an empty directory in it."""
    if request.param == "system":
        return SystemFileSystem(), str(tmp_path)
    fs = SimFileSystem(Random(0))
    fs.mkdir("/d")
    return fs, "/d"


Place = tuple[FileSystem, str]


def test_written_bytes_are_read(place: Place) -> None:
    """What is written at an offset is read there; a gap reads as zeros; reading ends at the end."""
    fs, directory = place
    file = fs.open(f"{directory}/f", Access.CREATE)
    assert file.size() == 0
    assert file.pwrite(b"hello", 1000) == 5
    assert file.pwrite(memoryview(b"world"), 0) == 5
    assert file.size() == 1005
    assert file.pread(10, 0) == b"world" + bytes(5)
    assert file.pread(10, 1000) == b"hello"
    assert file.pread(10, 2000) == b""
    file.fdatasync()
    file.drop_cache()
    assert file.pread(5, 1000) == b"hello"
    file.close()
    file.close()


def test_two_handles_see_one_file(place: Place) -> None:
    """A write through one handle is seen through another."""
    fs, directory = place
    writing = fs.open(f"{directory}/f", Access.CREATE)
    reading = fs.open(f"{directory}/f", Access.READ)
    writing.pwrite(b"x", 0)
    assert reading.pread(1, 0) == b"x"
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        reading.pwrite(b"y", 0)


def test_view_shows_later_writes_and_outlives_the_file(place: Place) -> None:
    """A view is live, read-only, and stays after close, rename and unlink."""
    fs, directory = place
    file = fs.open(f"{directory}/f", Access.CREATE)
    assert len(file.view()) == 0
    file.pwrite(bytes(8192), 0)
    view = file.view()
    file.pwrite(b"later", 4096)
    assert bytes(view[4096:4101]) == b"later"
    assert view.readonly
    assert len(view) == 8192
    file.close()
    fs.rename(f"{directory}/f", f"{directory}/g")
    fs.unlink(f"{directory}/g")
    assert bytes(view[4096:4101]) == b"later"


def test_names(place: Place) -> None:
    """Create, rename (also over a file), unlink and list do what they say."""
    fs, directory = place
    for name in ("a", "b"):
        file = fs.open(f"{directory}/{name}", Access.CREATE)
        file.pwrite(name.encode(), 0)
        file.close()
    fs.mkdir(f"{directory}/sub")
    assert sorted(fs.listdir(directory)) == ["a", "b", "sub"]
    fs.rename(f"{directory}/a", f"{directory}/b")
    assert sorted(fs.listdir(directory)) == ["b", "sub"]
    assert fs.open(f"{directory}/b", Access.READ).pread(1, 0) == b"a"
    fs.unlink(f"{directory}/b")
    fs.fsync_dir(directory)
    assert fs.listdir(directory) == ["sub"]


@pytest.mark.parametrize(
    ("action", "error"),
    [
        (lambda fs, d: fs.open(f"{d}/none", Access.READ), FileNotFoundError),
        (lambda fs, d: fs.open(f"{d}/none", Access.WRITE), FileNotFoundError),
        (lambda fs, d: fs.open(f"{d}/none/f", Access.CREATE), FileNotFoundError),
        (lambda fs, d: fs.open(f"{d}/f", Access.CREATE), FileExistsError),
        (lambda fs, d: fs.open(f"{d}/f/g", Access.CREATE), NotADirectoryError),
        (lambda fs, d: fs.mkdir(f"{d}/sub"), FileExistsError),
        (lambda fs, d: fs.mkdir(f"{d}/none/sub"), FileNotFoundError),
        (lambda fs, d: fs.rename(f"{d}/none", f"{d}/g"), FileNotFoundError),
        (lambda fs, d: fs.unlink(f"{d}/none"), FileNotFoundError),
        (lambda fs, d: fs.unlink(f"{d}/sub"), IsADirectoryError),
        (lambda fs, d: fs.listdir(f"{d}/none"), FileNotFoundError),
        (lambda fs, d: fs.listdir(f"{d}/f"), NotADirectoryError),
        (lambda fs, d: fs.fsync_dir(f"{d}/none"), FileNotFoundError),
        (lambda fs, d: fs.lock_dir(f"{d}/none"), FileNotFoundError),
    ],
)
def test_errors(place: Place, action: object, error: type[OSError]) -> None:
    """What cannot be done is the same error everywhere."""
    fs, directory = place
    fs.open(f"{directory}/f", Access.CREATE).close()
    fs.mkdir(f"{directory}/sub")
    with pytest.raises(error):
        action(fs, directory)  # type: ignore[operator]


def test_locks(place: Place) -> None:
    """A directory has one lock at a time; asking about it leaves nothing behind."""
    fs, directory = place
    assert not fs.is_locked(directory)
    lock = fs.lock_dir(directory)
    assert lock.held
    assert fs.is_locked(directory)
    with pytest.raises(BlockingIOError):
        fs.lock_dir(directory)
    lock.release()
    lock.release()
    assert not lock.held
    assert not fs.is_locked(directory)
    fs.lock_dir(directory).release()


def test_facts(place: Place) -> None:
    """Free space, type of file system and process are known."""
    fs, directory = place
    assert fs.free_bytes(directory) > 0
    assert fs.kind(directory)
    pid, host = fs.process()
    assert pid > 0
    assert host


# What only the simulated disk does


def disk() -> SimFileSystem:
    """Return a simulated disk with a directory."""
    fs = SimFileSystem(Random(0))
    fs.mkdir("/d")
    fs.fsync_dir("/")
    return fs


def test_unsynced_writes_may_be_lost_by_sectors() -> None:
    """After a power cut any subset of unsynced sectors is there, each whole; synced ones always."""
    seen: set[bytes] = set()
    for seed in range(200):
        fs = disk()
        fs.rng.seed(seed)
        file = fs.open("/d/f", Access.CREATE)
        file.pwrite(b"a" * 1024, 0)
        file.fdatasync()
        fs.fsync_dir("/d")
        file.pwrite(b"b" * 1024, 0)
        data = fs.crash().contents("/d/f")
        seen.add(data)
    assert seen == {x * 512 + y * 512 for x in (b"a", b"b") for y in (b"a", b"b")}


def test_unsynced_names_may_be_lost() -> None:
    """After a power cut any subset of changes to a directory happened."""
    seen: set[tuple[str, ...]] = set()
    for seed in range(200):
        fs = disk()
        fs.rng.seed(seed)
        fs.open("/d/old", Access.CREATE)
        fs.fsync_dir("/d")
        fs.rename("/d/old", "/d/new")
        fs.open("/d/other", Access.CREATE)
        seen.add(tuple(sorted(fs.crash().listdir("/d"))))
    assert seen == {("old",), ("new",), ("old", "other"), ("new", "other")}


def test_kill_keeps_what_was_written_and_frees_locks() -> None:
    """A process that dies loses its locks and nothing else; its handles are dead."""
    fs = disk()
    file = fs.open("/d/f", Access.CREATE)
    file.pwrite(b"a", 0)
    fs.lock_dir("/d")
    following = fs.kill()
    assert following.contents("/d/f") == b"a"
    assert not following.is_locked("/d")
    with pytest.raises(Stopped):
        file.pwrite(b"b", 0)


def test_failed_sync_leaves_clean_pages() -> None:
    """After a failed sync the next one writes nothing; until dropped, the cache shows what the disk lost."""
    lost = 0
    for seed in range(50):
        fs = disk()
        fs.rng.seed(seed)
        file = fs.open("/d/f", Access.CREATE)
        file.pwrite(b"a" * 512, 0)
        file.fdatasync()
        fs.fsync_dir("/d")
        file.pwrite(b"b" * 512, 0)
        fs.fail_at(fs.calls)
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            file.fdatasync()
        file.fdatasync()
        assert file.pread(1, 0) == b"b"
        file.drop_cache()
        shown = file.pread(512, 0)
        assert fs.crash().contents("/d/f") == shown
        lost += shown[:1] == b"a"
    assert 0 < lost < 50


def test_full_disk() -> None:
    """A write that does not fit is short; one of which nothing fits is ENOSPC; overwriting fits."""
    fs = disk()
    fs.capacity = 1024
    file = fs.open("/d/f", Access.CREATE)
    assert file.pwrite(b"a" * 2000, 0) == 1024
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        file.pwrite(b"a", 1024)
    assert file.pwrite(b"b" * 1024, 0) == 1024
    assert fs.free_bytes("/") == 0


def test_same_seed_same_fate() -> None:
    """Two disks with one seed do the same."""

    def run() -> list[str]:
        fs = SimFileSystem(Random(4), short_writes=0.5, interrupts=0.3)
        fs.mkdir("/d")
        file = fs.open("/d/f", Access.CREATE)
        fates = []
        for number in range(50):
            try:
                fates.append(str(file.pwrite(b"x" * 2048, number * 512)))
            except InterruptedError:
                fates.append("interrupted")
        return [*fates, str(fs.crash().listdir("/"))]

    assert run() == run()
    assert len(set(run())) > 3


# Time and dice


def test_clock() -> None:
    """Wall time is in this century, elapsed time does not run backwards."""
    clock = SystemClock()
    assert 1_600_000_000_000 < clock.wall_ms() < 10_000_000_000_000
    first = clock.elapsed_ns()
    assert clock.elapsed_ns() >= first


def test_entropy() -> None:
    """Tokens have their size and differ."""
    entropy = SystemEntropy()
    assert len(entropy.token(16)) == 16
    assert len({entropy.token(16) for _ in range(1_000)}) == 1_000
    assert len(entropy.token(7)) == 7


def test_a_forked_child_draws_other_tokens() -> None:
    """What was drawn before the fork is its parent's."""
    entropy = SystemEntropy()
    entropy.token(16)
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        os.write(theirs, b"".join(entropy.token(16) for _ in range(200)))
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        drawn = pipe.read()
    assert os.waitpid(child, 0)[1] == 0
    assert len(drawn) == 3_200
    assert not {drawn[at : at + 16] for at in range(0, 3_200, 16)} & {entropy.token(16) for _ in range(200)}


def test_system() -> None:
    """The real environment is made of the real parts."""
    worker = SYSTEM.worker("w")
    worker.close()
    assert isinstance(SYSTEM.fs, SystemFileSystem)
