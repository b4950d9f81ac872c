"""A repeat is told from another command: the same in any process, and when its class has got a new field."""

from typing import Any

import pytest

from actors import Command
from actors.messages import MessageMeta
from runtime.fingerprint import fingerprint_of, fingerprints_of


def hold(name: str = "Hold", aliases: tuple[str, ...] = (), **fields: Any) -> Any:
    """Return a class of commands, as it may have looked at some time: its fields have these defaults."""
    types: dict[str, Any] = {"trip": str, **{name: type(value) for name, value in fields.items()}}
    body = {"__annotations__": types, "__module__": __name__, **fields}
    return MessageMeta(name, (Command,), body, aliases=aliases)


def test_a_new_field_that_has_its_default_changes_nothing() -> None:
    before, after = hold(), hold(smoker=False, wishes=[])
    assert fingerprint_of(before("t")) == fingerprint_of(after("t"))
    assert fingerprint_of(before("t")) != fingerprint_of(after("t", smoker=True))
    assert fingerprint_of(before("t")) != fingerprint_of(after("t", wishes=["sea"]))
    assert fingerprint_of(before("t")) != fingerprint_of(before("u"))


@pytest.mark.parametrize(
    ("one", "other"),
    [(frozenset([0, 8]), frozenset([8, 0])), ({"a": 1, "b": 2}, {"b": 2, "a": 1}), ([{"a": 1, "b": {0, 8}}], None)],
    ids=["set", "dict", "inside"],
)
def test_the_order_of_what_has_none_is_no_difference(one: Any, other: Any) -> None:
    other = [{"b": {8, 0}, "a": 1}] if other is None else other
    assert str(one) != str(other)
    cls = hold(what=0)
    assert fingerprint_of(cls("t", one)) == fingerprint_of(cls("t", other))


def test_the_order_of_a_list_is_one() -> None:
    cls = hold(what=0)
    assert fingerprint_of(cls("t", [1, 2])) != fingerprint_of(cls("t", [2, 1]))


def test_another_class_is_another_command() -> None:
    assert fingerprint_of(hold()("t")) != fingerprint_of(hold("Release")("t"))


def test_a_class_that_was_renamed_is_the_same_command() -> None:
    old, new = hold()("t"), hold("Take", aliases=("Hold",))("t")
    assert fingerprint_of(new) != fingerprint_of(old)
    assert fingerprint_of(old) in fingerprints_of(new)
    assert fingerprint_of(old) not in fingerprints_of(hold("Take")("t"))
    assert fingerprint_of(hold()("u")) not in fingerprints_of(new)
