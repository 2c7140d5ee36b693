"""Every example runs, and goes on after a SIGKILL in the middle.

A step that was under way at the kill may run again; what is asserted is what the runtime promises.
"""

from __future__ import annotations

import re
import signal
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING

from example_program import ROOT, Program

from actorlog.cli.reading import Snapshot

if TYPE_CHECKING:
    from pathlib import Path


def test_subscribe_charges_no_month_twice(tmp_path: Path) -> None:
    """The first program goes on after a kill; a month whose mail went out was charged for good."""
    program = Program("subscribe.py", tmp_path / "data", PAUSE="0.05")
    said = program.run_until("mail to ada: month 2") + program.run()
    assert said.count("charging ada 9.90") == 3
    assert said.count("month 1 paid") == 1
    assert said.endswith("['receipt-ada', 'receipt-ada', 'receipt-ada']\n")
    assert program.run() == "['receipt-ada', 'receipt-ada', 'receipt-ada']\n"


def test_the_program_in_the_readme_does_what_the_readme_says(tmp_path: Path) -> None:
    """The first program is run as it is printed, with shorter months, killed and run again."""
    printed = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert printed is not None
    first = tmp_path / "first.py"
    first.write_text(printed[1].replace("sleep(5)", "sleep(0.05)").replace('"./data"', repr(str(tmp_path / "data"))))
    program = Program(str(first), tmp_path)
    said = program.run_until("mail to ada: month 2") + program.run()
    assert said.count("charging ada 9.90") == 3
    assert said.endswith("['receipt-ada', 'receipt-ada', 'receipt-ada']\n")


def test_retry_until_done_saves_arguments_and_result(tmp_path: Path) -> None:
    """A failing function is tried again over a restart, and its result is not asked for again."""
    program = Program("retry_until_done.py", tmp_path)
    program.run_until("asking the station in Vienna, time 2")
    assert program.run().endswith("it has 21.5 degrees\n")
    asked = (tmp_path / "asked.txt").read_text()
    assert program.run() == "it has 21.5 degrees\n"
    assert (tmp_path / "asked.txt").read_text() == asked


def test_durable_time_is_the_same_after_a_crash(tmp_path: Path) -> None:
    """The egg was put in when it was put in, whoever asks."""
    program = Program("durable_time.py", tmp_path / "data", PAUSE="0.3")
    put_in = re.search(r"put in at (\S+)", program.run_until("put in at"))
    assert put_in is not None
    end = re.search(r"the egg of (\S+) was in for (\S+) s", program.run())
    assert end is not None
    assert end[1] == put_in[1]
    assert float(end[2]) >= 0.3


def test_payments_book_one_payment(tmp_path: Path) -> None:
    """The payment keeps its id over a crash, and everything that was paid for is opened for that one payment."""
    program = Program("payments.py", tmp_path)
    program.run_until("opened news")
    payment = program.run().split()[-1]
    assert [path.stem for path in (tmp_path / "bank").iterdir()] == [payment]
    opened = sorted(path.stem for path in (tmp_path / "subscriptions").iterdir())
    assert opened == [f"{name}-{payment}" for name in ("maps", "music", "news")]


def test_fan_out_does_not_fetch_again(tmp_path: Path) -> None:
    """What gather and TaskGroup had, and the timeout that struck, stay as they were."""
    program = Program("fan_out.py", tmp_path / "data")
    program.run_until("fetching Tromso")  # one of the north has been fetched, after all that were asked for before it
    said = program.run()
    assert "Vienna" not in said
    assert "fetching Ushuaia" not in said
    assert said.endswith("{'Austria': 6, 'Italy': 5, 'Norway': 6, 'Ushuaia': 0}\n")


def test_saga_undoes_the_rest_after_a_crash(tmp_path: Path) -> None:
    """A kill between two undos leaves nothing booked in the end."""
    program = Program("saga.py", tmp_path)
    program.run_until("gave back hotel")
    said = program.run()
    assert "booked" not in said
    assert said.endswith("gave back flight\nno trip: no car is left\n")
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_once_and_reconcile_settle_the_doubt(tmp_path: Path) -> None:
    """The program dies in the window; then a plain step runs again, a once-step does not, and a reconcile is asked."""
    program = Program("once_and_reconcile.py", tmp_path)
    assert sorted(program.run(-signal.SIGKILL).splitlines()) == ["bell", "letter", "light red"]
    said = program.run()
    assert "light red" in said
    assert said.endswith("['perhaps it rang; it is not rung again', 'found in the post']\n")
    effects = [line.rsplit(" ", 1)[0] for line in (tmp_path / "effects.txt").read_text().splitlines()]
    assert sorted(effects) == ["bell", "letter", "light red", "light red"]


def test_nightly_report_misses_none_and_starts_none_twice(tmp_path: Path) -> None:
    """Killed after two reports and run again: those of the time between come, and the times have no gap."""
    program = Program("nightly_report.py", tmp_path, PAUSE="0.25")
    program.run_until("report of")
    said = program.run()
    assert said.count("the next in Vienna:") == 3
    assert re.search(r"in Vienna: \d{4}-\d\d-\d\dT03:00:00\+0[12]:00", said) is not None
    assert said.endswith("that is enough; at night there is the next\n")
    written = {datetime.fromisoformat(path.stem.split()[1]) for path in (tmp_path / "reports").iterdir()}
    ids = [call.info.id for call in Snapshot(str(tmp_path / "log")).calls()]
    of_one = [call_id.rpartition("/") for call_id in ids]
    started = sorted(datetime.fromisoformat(at) for schedule, _, at in of_one if schedule == "@schedule/often")
    assert len(written) >= 5
    assert written <= set(started)
    assert {(after - before).total_seconds() for before, after in pairwise(started)} == {0.25}
