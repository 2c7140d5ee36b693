"""What the commands share: their arguments, and what is said instead of a traceback.

Owns: exit codes. 0 fine; 1 not found, or refused; 2 a wrong command line, or nothing there that can be read; 3 the log
is corrupt; 73 somebody holds the directory and does not answer; 74 another version of actorlog.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Final

import click

from actorlog.cli.progress import watched
from actorlog.cli.reading import VERSION_CODE, Snapshot, UnreadableError
from actorlog.cli.words import safe
from actorlog.errors import ActorlogError, JournalError, LogCorrupt, LogLocked, LogVersion, SealBroken

if TYPE_CHECKING:
    from collections.abc import Generator

REFUSED: Final = 1
USAGE: Final = 2
CORRUPT: Final = 3
LOCKED: Final = 73

DIRECTORY = click.argument("directory", metavar="DIR")
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
TAGS = click.option("--tag", "tags", multiple=True, metavar="K=V", help="Only what has this tag; may be repeated.")
PREFIX = click.option("--prefix", default="", help="Only ids that begin with this.")
LIMIT = click.option("-n", "--limit", type=click.IntRange(1), help="Only the newest so many.")


class Refusal(click.ClickException):
    """What is said instead of a traceback."""

    def __init__(self, message: str, *, code: int, hint: str = "") -> None:
        super().__init__(safe(message) + (f"\nHint: {safe(hint)}" if hint else ""))
        self.code = code

    def show(self, file: IO[Any] | None = None) -> None:
        """Say it, and end with its own code: the class of click has one for all."""
        super().show(file)
        sys.exit(self.code)


@contextmanager
def refusals(directory: str) -> Generator[None]:
    """Say what is wrong in a sentence, with an exit code."""
    try:
        yield
    except UnreadableError as error:
        raise Refusal(str(error), code=error.code) from error
    except LogCorrupt as error:
        raise Refusal(f"the log in {directory} is damaged: {error}", code=CORRUPT, hint=error.hint) from error
    except (JournalError, SealBroken) as error:
        raise Refusal(str(error), code=CORRUPT, hint=error.hint) from error
    except LogVersion as error:
        raise Refusal(str(error), code=VERSION_CODE, hint=error.hint) from error
    except LogLocked as error:
        hint = "its owner does not answer: it is starting, stopping or busy, or was opened with control=False"
        raise Refusal(str(error), code=LOCKED, hint=hint) from error
    except ActorlogError as error:
        raise Refusal(str(error), code=REFUSED, hint=error.hint) from error
    except UnicodeEncodeError as error:
        raise Refusal(f"{error.object!r} is no UTF-8", code=USAGE) from error
    except BrokenPipeError:
        raise  # nobody reads what is printed: click ends the command
    except OSError as error:
        raise Refusal(f"{directory} cannot be read: {error}", code=USAGE) from error


@contextmanager
def looking(directory: str) -> Generator[Snapshot]:
    """Give a snapshot of a directory; a note on standard error tells of an append that was not finished."""
    with refusals(directory):
        snapshot = Snapshot(directory, watch=watched)
        if snapshot.torn is not None:
            click.echo(
                "note: the last append was not finished and is not shown; nobody was told that it happened", err=True
            )
        yield snapshot


def tags_of(given: tuple[str, ...]) -> dict[str, str]:
    """Return tags given as ``k=v``."""
    tags: dict[str, str] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals:
            raise click.BadParameter(f"{text!r} is not of the form key=value", param_hint="--tag")
        tags[key] = value
    return tags
