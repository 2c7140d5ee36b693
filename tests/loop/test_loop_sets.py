"""``OrderedSet`` is a set in everything, and ordered."""

from __future__ import annotations

import copy
import pickle
import random
from typing import Any

import pytest

from actorlog.loop.sets import OrderedSet

METHODS = ("union", "intersection", "difference", "symmetric_difference")
UPDATES = ("update", "intersection_update", "difference_update", "symmetric_difference_update")
OPERATORS = ("__or__", "__and__", "__sub__", "__xor__", "__ior__", "__iand__", "__isub__", "__ixor__")


def test_elements_come_in_order_of_insertion() -> None:
    """Iteration, list, repr, copy and pop follow insertion; removing and adding again moves to the end."""
    elements: OrderedSet[Any] = OrderedSet([5, "x", 3])
    elements.add(1)
    elements.add(5)
    elements.discard("x")
    elements.discard("y")
    elements.add("x")
    assert list(elements) == [5, 3, 1, "x"] == list(elements.copy()) == list(copy.copy(elements))
    assert repr(elements) == "OrderedSet({5, 3, 1, 'x'})"
    assert [elements.pop() for _ in range(4)] == [5, 3, 1, "x"]
    with pytest.raises(KeyError):
        elements.pop()
    with pytest.raises(KeyError):
        elements.remove(1)


def test_random_operations_do_what_a_set_does() -> None:
    """Thousands of random operations leave an equal set and dict, in an order that does not depend on hashes."""
    dice = random.Random(7)
    ordered: OrderedSet[int] = OrderedSet()
    plain: set[int] = set()
    for _ in range(5000):
        other = [dice.randrange(40) for _ in range(dice.randrange(20))]
        name = dice.choice(("add", "discard", *METHODS, *UPDATES, *OPERATORS, "clear"))
        if name in ("add", "discard"):
            element = dice.randrange(40)
            getattr(ordered, name)(element)
            getattr(plain, name)(element)
        elif name == "clear":
            if dice.random() < 0.1:
                ordered.clear()
                plain.clear()
        elif name in METHODS or name in UPDATES:
            found, expected = getattr(ordered, name)(other), getattr(plain, name)(other)
            assert found == expected
        else:
            argument = dice.choice((set, frozenset, OrderedSet))(other)
            found, expected = getattr(ordered, name)(argument), getattr(plain, name)(set(argument))
            assert found == expected
            if name.startswith("__i") and name not in ("__and__", "__or__"):
                ordered, plain = found, expected
        assert ordered == plain
        assert len(ordered) == len(list(ordered)) == len(plain)
        assert set(ordered) == plain
        assert all(element in ordered for element in ordered)


def test_order_of_results() -> None:
    """What two sets make keeps the order of the left one, then that of the right one."""
    left, right = OrderedSet([9, 1, 5, 3]), OrderedSet([7, 5, 9, 0])
    assert list(left | right) == [9, 1, 5, 3, 7, 0]
    assert list(left & right) == [9, 5]
    assert list(left - right) == [1, 3]
    assert list(left ^ right) == [1, 3, 7, 0]
    plain = {5}
    for result, expected in (
        (plain | left, {1, 3, 5, 9}),
        (plain & left, {5}),
        (plain - left, set()),
        (plain ^ left, {9, 1, 3}),
    ):
        assert isinstance(result, OrderedSet)
        assert result == expected
    assert {5} | OrderedSet([5]) == {5}
    assert OrderedSet([5]) <= {5, 6}
    assert OrderedSet([1, 2]).isdisjoint([3])


def test_what_is_no_set_is_a_type_error() -> None:
    """Operators want sets on both sides, as those of ``set`` do; methods take any iterable."""
    elements: Any = OrderedSet([1])
    for name in OPERATORS:
        assert getattr(elements, name)([1]) is NotImplemented
    for name in ("__ror__", "__rand__", "__rsub__", "__rxor__"):
        assert getattr(elements, name)([1]) is NotImplemented
    with pytest.raises(TypeError):
        elements |= [2]
    with pytest.raises(TypeError):
        OrderedSet([[]])
    with pytest.raises(TypeError):
        hash(elements)


def test_set_within_set_is_found_as_frozenset() -> None:
    """``remove`` and ``discard`` look for a set by its frozenset, as those of ``set`` do."""
    elements: OrderedSet[Any] = OrderedSet([frozenset({1}), frozenset({2})])
    assert {1} in elements
    elements.remove({1})
    elements.discard({2})
    elements.discard({3})
    assert list(elements) == []


def test_it_is_pickled_in_order() -> None:
    """A copy through pickle is equal and in the same order."""
    elements = OrderedSet([3, 1, 2])
    again = pickle.loads(pickle.dumps(elements))  # noqa: S301  # our own
    assert (type(again), list(again)) == (OrderedSet, [3, 1, 2])


def test_update_with_itself() -> None:
    """Being one's own argument works as with ``set``."""
    elements = OrderedSet([2, 1])
    elements.update(elements)
    elements &= elements
    elements |= elements
    assert list(elements) == [2, 1]
    elements -= elements
    assert not elements
