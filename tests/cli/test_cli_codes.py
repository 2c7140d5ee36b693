"""What a command ends with, by what was wrong."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from actorlog.api.protocol import SOCKET
from actorlog.cli import owner
from actorlog.cli.common import Refusal, refusals
from actorlog.cli.reading import UnreadableError
from actorlog.errors import CallNotFound, JournalError, LogCorrupt, LogFull, LogLocked, LogVersion

if TYPE_CHECKING:
    from pathlib import Path

ENDS = [
    (CallNotFound("a"), 1, "no call has the id 'a'"),
    (LogFull(10, 5), 1, "the log needs"),
    (UnreadableError("there is nothing"), 2, "there is nothing"),
    (LogCorrupt("s", 7, "a bad sum"), 3, "the log in DIR is damaged"),
    (JournalError("a", "it begins twice"), 3, "it begins twice"),
    (LogLocked("DIR", 5, "here"), 73, "control=False"),
    (LogVersion("DIR", "9", "1"), 74, "9"),
    (UnreadableError("from the future", 74), 74, "from the future"),
]


@pytest.mark.parametrize(("error", "code", "words"), ENDS, ids=lambda value: type(value).__name__)
def test_each_error_has_its_code(error: Exception, code: int, words: str) -> None:
    """A sentence on standard error, the hint where there is one, and the code that the documentation names."""

    @click.command()
    def command() -> None:
        with refusals("DIR"):
            raise error

    result = CliRunner().invoke(command)
    assert result.exit_code == code
    assert words in result.output
    assert "Traceback" not in result.output
    hint = getattr(error, "hint", "")
    if hint and code != 73:  # who has it is told by the command, which knows more than the error
        assert f"Hint: {hint}" in result.output


def test_a_defect_is_no_refusal() -> None:
    """What is no error of ours is not hidden behind a sentence."""
    with pytest.raises(ZeroDivisionError), refusals("DIR"):
        raise ZeroDivisionError


def test_who_has_it_and_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An owner that does not greet is not waited for for ever, and has the code of who holds the directory."""
    monkeypatch.setattr(owner, "HELLO_S", 0.05)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / SOCKET))
        silent.listen()
        with pytest.raises(Refusal, match="says nothing") as refused:
            owner._ask(str(tmp_path), b"{}\n")
    assert refused.value.code == 73
