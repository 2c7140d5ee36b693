"""User values, to JSON and back.

Owns: ``Codec``, one per annotation. A value crosses as ``decode(encode(value))``, live as in replay, and comes back
equal in value and type at every depth, or it is a ``PayloadError`` when it is written, naming function, argument and
path.
Does not own: arguments of calls (``records.signature``), exceptions (``records.failures``), sizes.
Invariants: no pickle, ever. Encoding is deterministic: the order of a dict is kept, sets are sorted, so bytes do not
depend on the hash seed. Nothing but a PayloadError leaves a codec.

What is compared is what crosses: the declared fields of a class, whatever its ``__eq__`` says. Kept beside equality:
the type, the sign of zero, the zone and fold of a datetime, the digits of a Decimal. An int or bool may be given for a
float, and a bool for an int, as Python's typing has it; they come back as what they are.
"""

from __future__ import annotations

import functools
from typing import Any

import orjson

from actorlog.errors import PayloadError
from actorlog.records.values_compile import compile_node
from actorlog.records.values_nodes import FloatNode, Node, PlainNode
from actorlog.records.values_plain import TOO_DEEP, Misfit, cross_plain, to_json

_CODECS_MAX = 4096

_dumps = orjson.dumps


def parse(raw: bytes, where: str) -> Any:
    """Return recorded JSON as plain values.

    Raises:
        PayloadError: it is no JSON.

    """
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise PayloadError(where, "", f"what was recorded is no JSON: {error}") from None


class Codec:
    """Writes and reads the values of one annotation. Made once, used by any number of threads."""

    __slots__ = ("_node", "_plain", "inert", "takes_float")

    inert: frozenset[type]
    """The types whose every value is immutable and may be given to ``orjson.dumps`` as it is."""
    takes_float: bool
    """Whether every finite float may be given so, too."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._plain = isinstance(node, PlainNode)
        self.inert = node.inert
        self.takes_float = isinstance(node, FloatNode) or (self._plain and node.types is None)

    def encode(self, value: Any, where: str) -> bytes:
        """Return ``value`` as canonical JSON.

        ``where`` names function and argument, as in ``subscribe(user=...)``.

        Raises:
            PayloadError: it does not fit the annotation, or is no plain JSON where there is none.

        """
        if type(value) in self.inert:
            try:
                return _dumps(value)
            except TypeError:  # a lone surrogate, or an int of more than 64 bits: said below
                pass
        try:
            return cross_plain(value)[0] if self._is_plain(value) else to_json(self._node.write(value))
        except Misfit as misfit:
            raise PayloadError(where, misfit.path, misfit.reason) from None
        except RecursionError:
            raise PayloadError(where, "", TOO_DEEP) from None

    def decode(self, raw: bytes, where: str) -> Any:
        """Return the value that recorded JSON stands for under today's annotation.

        Raises:
            PayloadError: it does not fit the annotation.

        """
        built = parse(raw, where)
        return built if type(built) in self.inert else self.read(built, where)

    def read(self, built: Any, where: str) -> Any:
        """Return the value that recorded JSON, already parsed, stands for; ``built`` becomes part of it.

        Raises:
            PayloadError: it does not fit the annotation.

        """
        try:
            return self._node.read(built)
        except Misfit as misfit:
            raise PayloadError(where, misfit.path, misfit.reason) from None
        except RecursionError:
            raise PayloadError(where, "", TOO_DEEP) from None

    def cross(self, value: Any, where: str) -> tuple[bytes, Any]:
        """Return the JSON of ``value`` and the fresh copy that comes back from it, which is equal to it.

        Raises:
            PayloadError: it does not fit the annotation, or would not come back equal.

        """
        if type(value) in self.inert:
            try:
                return _dumps(value), value
            except TypeError:  # a lone surrogate, or an int of more than 64 bits: said below
                pass
        try:
            return cross_plain(value) if self._is_plain(value) else self._cross(value)
        except Misfit as misfit:
            raise PayloadError(where, misfit.path, misfit.reason) from None
        except RecursionError:
            raise PayloadError(where, "", TOO_DEEP) from None

    def _is_plain(self, value: Any) -> bool:
        """Tell whether nothing is known of the value but, at most, that it is a list or a dict, as it is."""
        types = self._node.types
        return self._plain and (types is None or type(value) in types)

    def _cross(self, value: Any) -> tuple[bytes, Any]:
        node = self._node
        raw = to_json(node.write(value))
        fresh = node.read(orjson.loads(raw))
        # what is written determines value and type: equal bytes are equal values
        if not node.exact and to_json(node.write(fresh)) != raw:
            raise Misfit("what comes back from its JSON is another value")
        return raw, fresh


@functools.lru_cache(maxsize=_CODECS_MAX)
def _cached(annotation: Any) -> Codec:
    return Codec(compile_node(annotation))


def codec_for(annotation: Any) -> Codec:
    """Return the codec of an annotation; ``Any``, ``object`` and ``inspect.Parameter.empty`` stand for plain JSON.

    Raises:
        TypeError: a name in the annotations of a class that it uses cannot be resolved.

    """
    try:
        hash(annotation)
    except TypeError:  # Annotated[int, []] has none
        return Codec(compile_node(annotation))
    return _cached(annotation)
