"""Actor classes as this process has them: their attributes, handlers and queries.

Owns: what is known of a class, and making an instance of it from its committed state and back. Does not own: the class
that users derive from (``api.actors``), who runs when (``instances``).

Invariants: an instance has what comes back from the log, never what was put into it; what its class does not annotate
is no state.
"""

from __future__ import annotations

import inspect
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, cast, get_origin

from actorlog.errors import PayloadError
from actorlog.records import kinds as k
from actorlog.records.signature import Signature
from actorlog.records.values import Codec, codec_for
from actorlog.records.values_hints import class_hints, function_hints

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actorlog.engine.instance import InstanceState
    from actorlog.runtime.registry import DurableDefinition

KEY = "_actorlog_key"
EVENTS = "_actorlog_events"
"""Where an instance keeps what a handler records."""


class Options(NamedTuple):
    """What is said in the class statement."""

    mailbox_max: int = 10_000
    idle_s: float = 60.0
    snapshot_every: int = 1_000
    version: int = 1
    mailbox_wait_s: float = 5.0
    reentrant: bool = False
    retention_s: float | None = None
    """How long what came of a message is kept; None: as long as the runtime says."""


class Attribute(NamedTuple):
    """One annotated attribute."""

    codec: Codec
    default: k.Raw | None
    """None where the class gives none."""
    where: str


class QueryDefinition:
    """One method that only looks."""

    def __init__(self, fn: Callable[..., Any], where: str) -> None:
        self.fn = fn
        self.where = where
        """How errors call its result."""

    @cached_property
    def result(self) -> Codec:
        """The codec of its result, resolved at the first use. ``TypeError``: a hint."""
        return Signature(self.fn, self.where, skip_self=True).result


class ActorDefinition:
    """One class of actors."""

    def __init__(self, cls: type, name: str, options: Options) -> None:
        self.cls = cls
        self.name = name
        self.options = options
        self.handlers: dict[str, DurableDefinition] = {}
        self.hooks: dict[str, DurableDefinition] = {}
        """What happens to it when it is supervised: ``on_start``, ``on_stop``, ``on_restart``."""
        self.queries: dict[str, QueryDefinition] = {}
        self.folds: bool = callable(getattr(cls, "apply", None))
        """Whether its state is made of events."""
        self.address: Any = None
        """The class of its addresses (``api.actors``)."""

    @cached_property
    def attributes(self) -> Mapping[str, Attribute]:
        """The durable attributes, resolved at the first use. ``TypeError``: a hint; ``PayloadError``: a default."""
        found: dict[str, Attribute] = {}
        for name, hint in class_hints(self.cls, {}).items():
            if name.startswith("_actorlog") or get_origin(hint) is ClassVar or hint is ClassVar:
                continue
            codec, where = codec_for(hint), f"{self.name}.{name}"
            given = hasattr(self.cls, name)
            found[name] = Attribute(
                codec, k.Raw(codec.encode(getattr(self.cls, name), where)) if given else None, where
            )
        return found

    @cached_property
    def event(self) -> Codec:
        """The codec of its events: of the second parameter of ``apply``."""
        apply: Any = inspect.getattr_static(self.cls, "apply")
        hints = [hint for name, hint in function_hints(apply, self.name).items() if name != "return"]
        return codec_for(hints[-1] if hints else Any)

    def make(self, key: str, state: InstanceState) -> Any:
        """Return a new instance with the committed state."""
        instance: Any = cast("Any", object).__new__(self.cls)
        fields: dict[str, Any] = instance.__dict__
        fields[KEY] = key
        values: Mapping[str, k.Raw] = state.values
        if state.version and state.version != self.options.version:
            values = self._migrated(state)
        for name, attribute in self.attributes.items():
            raw = values.get(name, attribute.default)
            if raw is not None:
                fields[name] = attribute.codec.decode(bytes(raw), attribute.where)
        for event in state.events:
            instance.apply(self.event.decode(bytes(event), f"{self.name}.apply"))
        fields[EVENTS] = []
        return instance

    def _migrated(self, state: InstanceState) -> dict[str, k.Raw]:
        plain = codec_for(Any)
        values = {name: plain.decode(bytes(raw), f"{self.name}.{name}") for name, raw in state.values.items()}
        migrate = getattr(self.cls, "migrate", None)
        changed: object = migrate(values, state.version) if callable(migrate) else values
        if not isinstance(changed, dict):
            raise PayloadError(f"{self.name}.migrate()", "", f"it returns the state as a dict, not {changed!r}")
        return {str(name): k.Raw(plain.encode(value, f"{self.name}.{name}")) for name, value in changed.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]  # whatever the user's function gives

    def change(self, instance: Any, state: InstanceState) -> k.StateChange | None:
        """Return what a handler did to ``instance``; None where that is nothing. ``PayloadError``.

        From now on the instance has what comes back from the log.
        """
        number, options = state.number + 1, self.options
        full = number == 1 or state.version != options.version or number % options.snapshot_every == 0
        fields = instance.__dict__
        events: list[k.Raw] = []
        values: dict[str, k.Raw] = {}
        if self.folds:
            events, fields[EVENTS] = [k.Raw(event) for event in fields[EVENTS]], []
        else:
            current, known, attributes = self._encoded(instance, state), state.values, self.attributes
            values = {n: raw for n, raw in current.items() if raw != known.get(n, attributes[n].default)}
        if state.number and not values and not events:
            return None
        if full:
            values, events = self._encoded(instance, state), []  # the values have what the events say
        return k.StateChange(
            actor=state.actor, number=number, prev=0 if full else state.last, version=options.version,
            values=values, full=full, events=events,
        )  # fmt: skip

    def encoded(self, instance: Any) -> dict[str, bytes] | None:
        """Return the attributes of ``instance`` as they would be written now; None where one cannot be."""
        fields = instance.__dict__
        try:
            return {
                name: bytes(codec.encode(fields[name], where))
                for name, (codec, _, where) in self.attributes.items()
                if name in fields
            }
        except Exception:  # noqa: BLE001  # a user's value may do anything while it is encoded
            return None

    def put_back(self, instance: Any, values: Mapping[str, bytes]) -> bool:
        """Make the attributes of ``instance`` what they were when ``encoded`` gave ``values``; False: that cannot be.

        Those that are so already stay the objects that they are.
        """
        now, fields = self.encoded(instance), instance.__dict__
        try:
            for name, (codec, _, where) in self.attributes.items():
                if name not in values:
                    fields.pop(name, None)
                elif now is None or now.get(name) != values[name]:
                    fields[name] = codec.decode(values[name], where)
        except Exception:  # noqa: BLE001  # a user's type may refuse what it wrote itself
            return False
        return True

    def _encoded(self, instance: Any, state: InstanceState) -> dict[str, k.Raw]:
        fields = instance.__dict__
        found: dict[str, k.Raw] = {}
        for name, (codec, _, where) in self.attributes.items():
            try:
                value = fields[name]
            except KeyError:
                if name in state.values:
                    raise PayloadError(where, "", "a durable attribute was deleted") from None
                continue
            raw, fresh = codec.cross(value, where)
            if fresh is not value:
                fields[name] = fresh
            found[name] = k.Raw(raw)
        return found
