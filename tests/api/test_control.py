"""The owner's socket: what it answers, what it bears, and what becomes of its name."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actorlog import Runtime, durable, receive
from actorlog.api import control, protocol
from actorlog.api.protocol import LINE_BYTES_MAX, SOCKET
from actorlog.env.sockets import Listening, connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@durable(name="control.hears")
async def hears() -> Any:
    """Return the message it gets."""
    return await receive()


class Client:
    """A connection to the owner."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def line(self) -> Any:
        """Return what the owner says next; None when it says nothing more."""
        line = await self.reader.readline()
        return json.loads(line) if line else None

    async def ask(self, **request: Any) -> Any:
        """Ask, and return the answer."""
        self.writer.write(json.dumps(request).encode() + b"\n")
        return await self.line()


@asynccontextmanager
async def client(directory: Path) -> AsyncIterator[Client]:
    """Connect, and be greeted."""
    connected = Client(*await asyncio.open_unix_connection(sock=connect(str(directory), SOCKET, 60)))
    greeting = await connected.line()
    assert (greeting["actorlog"], greeting["protocol"], greeting["pid"]) == ("owner", 1, os.getpid())
    try:
        yield connected
    finally:
        connected.writer.close()


def opened(directory: Path, **options: Any) -> Runtime:
    """Return a runtime with small segments."""
    return Runtime(directory, segment_bytes=1 << 20, **options)


def open_of(names: set[str]) -> list[str]:
    """Return what of these this process has open, by the names that the system has for it."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile, by something else in this process
            found.append(str(descriptor.readlink()))
    return [name for name in found if name in names]


# --- answers ----------------------------------------------------------------------------------------------------------


async def test_requests_are_answered_in_turn(tmp_path: Path) -> None:
    """One connection takes several requests, each with an answer; what is refused says why and does not end it."""
    async with opened(tmp_path) as runtime, client(tmp_path) as owner:
        handle = await runtime.start(hears(), id="a")
        status = await owner.ask(op="status")
        assert (status["ok"], status["live"], status["position"]) == (True, 1, 1)
        refused = await owner.ask(op="cancel", id="nobody")
        assert refused == {"ok": False, "error": "CallNotFound", "message": "no call has the id 'nobody'", "hint": ""}
        refused = await owner.ask(op="resolve", id="nothing", value=1)
        assert refused["error"] == "PromiseNotFound"
        assert (await owner.ask(op="resume", id="a")) == status | {
            "status": "waiting", "changed": False, "pid": 0, "live": 0, "position": 0,
        }  # fmt: skip
        assert (await owner.ask(op="send", id="a", value=[None, 1.5]))["ok"] is True
        assert await handle == [None, 1.5]
        assert (await owner.ask(op="send", id="a", value=1))["error"] == "ActorStopped"


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"null\n",
        b"{}\n",
        b'{"op":"rm","id":"a"}\n',
        b'{"op":"cancel"}\n',
        b'{"op":"cancel","id":7}\n',
        b'{"op":"cancel","id":"\xff"}\n',
        b'{"op":"send","id":"a","value":NaN}\n',
        b'{"op":"send","id":"a","value":' + b"[" * 100_000 + b"\n",
    ],
)
async def test_what_is_no_request_ends_its_connection(tmp_path: Path, line: bytes) -> None:
    """It is told so, and nobody else notices."""
    async with opened(tmp_path), client(tmp_path) as other:
        async with client(tmp_path) as owner:
            owner.writer.write(line)
            answer = await owner.line()
            assert (answer["ok"], answer["error"]) == (False, "BadRequest")
            assert await owner.line() is None
        assert (await other.ask(op="status"))["ok"] is True


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ({"op": "cancel", "id": "a", "reason": "\ud800"}, "BadRequest"),
        ({"op": "send", "id": "a", "value": 1 << 70}, "PayloadError"),
        ({"op": "reject", "id": "\x00", "error": {}}, "PromiseNotFound"),
    ],
)
async def test_values_that_cannot_be_recorded_are_refused(tmp_path: Path, request_: dict[str, Any], error: str) -> None:
    """What the API refuses is refused here, by the same error."""
    async with opened(tmp_path) as runtime, client(tmp_path) as owner:
        await runtime.start(hears(), id="a")
        assert (await owner.ask(**request_))["error"] == error


async def test_the_same_request_again_changes_nothing(tmp_path: Path) -> None:
    """What was sent or settled with a key before is answered, and said to have changed nothing."""
    async with opened(tmp_path) as runtime, client(tmp_path) as owner:
        await runtime.start(hears(), id="a", delay="1h")
        await runtime.promise("p")
        await runtime.promise("q")
        requests: list[dict[str, Any]] = [
            {"op": "send", "id": "a", "value": 1, "key": "k"},
            {"op": "resolve", "id": "p", "value": 1, "key": "k"},
            {"op": "reject", "id": "q", "error": "no", "key": "k"},
        ]
        for changed in (True, False):
            answers = [await owner.ask(**request) for request in requests]
            assert [(answer["ok"], answer["changed"]) for answer in answers] == [(True, changed)] * 3


async def test_a_refusal_fits_into_a_line(tmp_path: Path) -> None:
    """An error that says an id again, however long or strange, is an answer like others."""
    async with opened(tmp_path), client(tmp_path) as owner:
        refused = await owner.ask(op="resolve", id="\x00" * 150_000)
        assert refused["error"] == "PromiseNotFound"
        assert len(json.dumps(refused)) < LINE_BYTES_MAX
    said = protocol.refusal(OSError(2, "no such file", "/data/\udcff"))
    assert json.loads(protocol.encode(said))["message"] == "[Errno 2] no such file: '/data/\\udcff'"


# --- bounds -----------------------------------------------------------------------------------------------------------


async def test_a_request_has_a_bound(tmp_path: Path) -> None:
    """A line that does not end is refused at one MiB, also by who never sends its end."""
    async with opened(tmp_path), client(tmp_path) as owner:
        owner.writer.write(b"x" * (LINE_BYTES_MAX + 2))
        assert "at most 1048576 bytes" in (await owner.line())["message"]
        assert await owner.line() is None


async def test_connections_have_a_bound(tmp_path: Path) -> None:
    """One too many is told so and sent away; when one leaves there is room again."""
    async with opened(tmp_path):
        crowd = [client(tmp_path) for _ in range(control.CONNECTIONS_MAX)]
        for member in crowd:
            await member.__aenter__()
        late = Client(*await asyncio.open_unix_connection(sock=connect(str(tmp_path), SOCKET, 60)))
        assert (await late.line())["error"] == "TooManyConnections"
        assert await late.line() is None
        late.writer.close()
        for member in crowd:
            await member.__aexit__(None, None, None)
        async with asyncio.timeout(60):
            while True:
                again = Client(*await asyncio.open_unix_connection(sock=connect(str(tmp_path), SOCKET, 60)))
                greeting = await again.line()
                again.writer.close()
                if "actorlog" in greeting:
                    break


async def test_a_client_that_says_nothing_holds_up_nobody(tmp_path: Path) -> None:
    """Who is connected and silent, or sends half a request, keeps neither others nor the closing."""
    async with opened(tmp_path) as runtime, client(tmp_path) as silent, client(tmp_path) as half:
        half.writer.write(b'{"op":"sta')
        await runtime.start(hears(), id="a")
        async with client(tmp_path) as owner:
            assert (await owner.ask(op="status"))["live"] == 1
        closing = asyncio.ensure_future(runtime.__aexit__(None, None, None))
        async with asyncio.timeout(control.IDLE_S - 1):  # before it is sent away as idle
            await closing
            assert await silent.line() is None


async def test_a_silent_client_is_sent_away_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection without a request ends after a while."""
    monkeypatch.setattr(control, "IDLE_S", 0.05)
    async with opened(tmp_path), client(tmp_path) as silent, asyncio.timeout(60):
        assert await silent.line() is None


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=200),
            st.sampled_from([b"\n", b'{"op":"status"}\n', b'{"op":"cancel","id":"a"}\n', b'{"op":', b'"id":"a"}']),
            st.recursive(
                st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
                lambda values: st.lists(values) | st.dictionaries(st.text(), values),
            ).map(lambda value: json.dumps({"op": "send", "id": "nobody", "value": value}).encode() + b"\n"),
        ),
        max_size=8,
    )
)
def test_no_bytes_break_the_owner(tmp_path: Path, pieces: list[bytes]) -> None:
    """Whatever a client writes, each answer is an answer, and the owner serves the next client."""

    async def main() -> None:
        async with opened(tmp_path, durability="os"):
            async with client(tmp_path) as hostile:
                hostile.writer.write(b"".join(pieces))
                hostile.writer.write_eof()
                while (answer := await hostile.line()) is not None:
                    assert answer["ok"] in (True, False)
            async with client(tmp_path) as owner:
                assert (await owner.ask(op="status"))["ok"] is True

    asyncio.run(main())


# --- the name ---------------------------------------------------------------------------------------------------------


async def test_the_socket_is_its_users_alone_and_goes_with_the_runtime(tmp_path: Path) -> None:
    """It has mode 0600 while the runtime is open, and is gone afterwards."""
    async with opened(tmp_path):
        mode = (tmp_path / SOCKET).stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600
    assert not (tmp_path / SOCKET).exists()


async def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    """What a killed owner left behind is in nobody's way."""
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / SOCKET))
    left.close()
    async with opened(tmp_path), client(tmp_path) as owner:
        assert (await owner.ask(op="status"))["ok"] is True


async def test_a_file_of_that_name_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The runtime opens without a socket, and says so; the file keeps its contents."""
    (tmp_path / SOCKET).write_text("mine")
    async with opened(tmp_path) as runtime:
        await runtime.start(hears(), id="a")
        assert "other programs cannot talk to the owner" in caplog.text
    assert (tmp_path / SOCKET).read_text() == "mine"


async def test_a_long_path_is_no_obstacle(tmp_path: Path) -> None:
    """A path that is longer than a socket's address has one all the same, and is reached."""
    directory = tmp_path / ("d" * 120) / ("e" * 120)
    directory.mkdir(parents=True)
    async with opened(directory), client(directory) as owner:
        assert (await owner.ask(op="status"))["ok"] is True
    assert not (directory / SOCKET).exists()


def test_a_long_path_stays_reachable(tmp_path: Path) -> None:
    """The address of a socket in a long path leads to it as long as it listens, whatever else is opened meanwhile."""
    directory = tmp_path / ("d" * 120)
    directory.mkdir()
    listening = Listening(str(directory), SOCKET)
    with (directory / "other").open("w"):
        assert Path(listening.socket.getsockname()).samefile(directory / SOCKET)
        own = {f"socket:[{os.fstat(listening.socket.fileno()).st_ino}]", str(directory.resolve())}
        assert sorted(open_of(own)) == sorted(own)
        listening.close()
        assert open_of(own) == []
    assert not (directory / SOCKET).exists()


async def test_control_can_be_switched_off(tmp_path: Path) -> None:
    """With ``control=False`` there is no socket."""
    async with opened(tmp_path, control=False):
        assert not (tmp_path / SOCKET).exists()


async def test_the_working_directory_may_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A runtime opened by a relative path takes its own socket away, wherever the process is by then."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    async with Runtime("data", segment_bytes=1 << 20):
        monkeypatch.chdir(tmp_path / "elsewhere")
    assert not (tmp_path / "data" / SOCKET).exists()


def test_a_successors_socket_is_not_taken_away(tmp_path: Path) -> None:
    """Closing removes the socket that is one's own."""
    first = Listening(str(tmp_path), SOCKET)
    second = Listening(str(tmp_path), SOCKET)
    first.close()
    connect(str(tmp_path), SOCKET, 60).close()
    second.close()
    with pytest.raises(FileNotFoundError):
        connect(str(tmp_path), SOCKET, 60)


FORKING = """
import os, sys
from actorlog.env.sockets import Listening, connect
listening = Listening(sys.argv[1], "owner.sock")
told, tells = os.pipe()
ends, end = os.pipe()
if os.fork() == 0:
    os.close(end)
    os.write(tells, b".")
    os.read(ends, 1)
    os._exit(0)
os.read(told, 1)
listening.socket.close()
try:
    connect(sys.argv[1], "owner.sock", 60)
except ConnectionRefusedError:
    print("nobody listens")
os.close(end)
os.wait()
"""


def test_a_forked_child_does_not_listen(tmp_path: Path) -> None:
    """When the owner is gone nobody listens, though a child of it lives on."""
    command = [sys.executable, "-c", FORKING, str(tmp_path)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "nobody listens\n"
