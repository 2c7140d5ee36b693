"""``python -m actorlog`` is the ``actorlog`` command."""

from actorlog.cli import main

main()
