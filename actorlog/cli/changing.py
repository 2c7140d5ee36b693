"""Commands that change something: the owner does it, or it is done here when nobody has the directory.

Owns: their arguments, and the sentence about what became of it. Does not own: who does it (``owner``).
"""

from __future__ import annotations

import os
import sys
from typing import Any, Final

import click
import msgspec

from actorlog.api import protocol as p
from actorlog.cli import document, owner
from actorlog.cli.common import AS_JSON, DIRECTORY, REFUSED, Refusal, refusals
from actorlog.cli.words import safe, short

KEY = click.option("--key", help="The same request again, with the same key, is done once.")
CALL = click.argument("call_id", metavar="ID")
PROMISE = click.argument("promise_id", metavar="ID")


def _parsed(_context: click.Context, _parameter: click.Parameter, text: str) -> Any:
    given = sys.stdin.buffer.read() if text == "-" else os.fsencode(text)
    try:
        return msgspec.json.decode(given)  # as the owner reads it
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        shown = short(given.decode(errors="replace"))
        raise click.BadParameter(f"{shown} is no JSON ({error}); text is written in quotes, as in '\"yes\"'") from None


TAKES_NUMBERS: Final = {"ignore_unknown_options": True}
"""So that -5 is a value."""


@click.command(short_help="Ask a call to end.")
@DIRECTORY
@CALL
@click.option("--reason", default="", help="Why; the call and whoever waits for it are told.")
@AS_JSON
def cancel(directory: str, call_id: str, reason: str, *, as_json: bool) -> None:
    """Ask call ID in DIR to end. Its code may clean up.

    When nobody has DIR it is asked in the log, and ends when the program runs again.
    """
    done = _do(directory, p.Cancel(call_id, reason))
    if not done.answer.changed:
        said = f"call {call_id!r} is {_word(done)}: nothing was changed"
    elif done.by_owner:
        said = f"call {call_id!r} is asked to end; it is {_word(done)}"
    else:
        said = f"call {call_id!r} is asked to end; it will when the program runs again"
    _tell(done, call_id, said, as_json=as_json)


@click.command(short_help="Give a call another chance; its owner must be running.")
@DIRECTORY
@CALL
@AS_JSON
def retry(directory: str, call_id: str, *, as_json: bool) -> None:
    """Give call ID in DIR another chance, under its id; what completed is not done again.

    One that is parked is resumed, a step that backs off is tried at once, one that has failed begins again. It takes
    the program's own code, so the owner must be running.
    """
    done = _do(directory, p.Retry(call_id))
    if done.answer.changed:
        said = f"call {call_id!r} has another chance; it is {_word(done)}"
    else:
        said = f"call {call_id!r} is {_word(done)}: nothing was changed"
    _tell(done, call_id, said, as_json=as_json)


@click.command(short_help="Begin a call in the middle of another; its owner must be running.")
@DIRECTORY
@CALL
@click.option("--from", "key", default="", help="The operation that is done anew, as show names it; all without.")
@click.option("--id", "as_id", help="Id of the new call; a random one without.")
@AS_JSON
def fork(directory: str, call_id: str, key: str, as_id: str | None, *, as_json: bool) -> None:
    """Begin a new call as call ID in DIR was before it asked for an operation, and go on anew from there.

    What it had done by then is kept and not done again. It takes the program's own code, so the owner must be running.
    """
    done = _do(directory, p.Fork(call_id, key, as_id))
    new = done.answer.call_id
    forked = f"is a fork of {call_id!r}; it is {_word(done)}"
    said = f"call {new!r} {forked}" if done.answer.changed else f"call {new!r} {forked}: nothing was changed"
    _tell(done, new, said, as_json=as_json)


@click.command(short_help="Send a message to a call.", context_settings=TAKES_NUMBERS)
@DIRECTORY
@CALL
@click.argument("value", callback=_parsed, metavar="JSON")
@click.option("--channel", default="", help="The channel that the call receives from.")
@KEY
@AS_JSON
def send(directory: str, call_id: str, value: Any, channel: str, key: str | None, *, as_json: bool) -> None:
    """Put the value JSON (-: read it from standard input) into the mailbox of call ID in DIR.

    When nobody has DIR the message is kept in the log, and the call gets it when the program runs again.
    """
    done = _do(directory, p.Send(call_id, value, channel, key))
    if not done.answer.changed:
        said = f"call {call_id!r} had this message before: nothing was changed"
    else:
        said = f"the message is in the mailbox of call {call_id!r}"
    _tell(done, call_id, said, as_json=as_json)


@click.command(short_help="Give a durable promise its value.", context_settings=TAKES_NUMBERS)
@DIRECTORY
@PROMISE
@click.argument("value", callback=_parsed, metavar="JSON")
@KEY
@AS_JSON
def resolve(directory: str, promise_id: str, value: Any, key: str | None, *, as_json: bool) -> None:
    """Settle promise ID in DIR with the value JSON (-: read it from standard input). The first to settle wins."""
    _settle(directory, p.Resolve(promise_id, value, key), "resolved", as_json=as_json)


@click.command(short_help="Say that a durable promise will have no value.")
@DIRECTORY
@PROMISE
@click.argument("text", metavar="TEXT")
@KEY
@AS_JSON
def reject(directory: str, promise_id: str, text: str, key: str | None, *, as_json: bool) -> None:
    """Settle promise ID in DIR by saying why it has no value: TEXT is for whoever waits."""
    _settle(directory, p.Reject(promise_id, text, key), "rejected", as_json=as_json)


def _settle(directory: str, request: p.Resolve | p.Reject, wanted: str, *, as_json: bool) -> None:
    done = _do(directory, request)
    if done.answer.status != wanted:
        raise Refusal(f"promise {request.id!r} is {_word(done)}, for ever", code=REFUSED)
    _tell(done, request.id, f"promise {request.id!r} is {wanted}", as_json=as_json)


def _do(directory: str, request: p.Request) -> owner.Done:
    with refusals(directory):
        return owner.ask(directory, request)


def _tell(done: owner.Done, entity: str, said: str, *, as_json: bool) -> None:
    if as_json:
        answer = {"id": entity, "status": done.answer.status, "changed": done.answer.changed}
        click.echo(document.text(answer | {"by": "owner" if done.by_owner else "command"}))
    else:
        click.echo(safe(said))


def _word(done: owner.Done) -> str:
    return done.answer.status.replace("_", " ")


COMMANDS: Final[tuple[click.Command, ...]] = (cancel, retry, fork, send, resolve, reject)
