"""What a subscriber has taken up: whatever ends when, keys stay in order and the checkpoint leaves none out."""

import random
from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from persistence import Record
from runtime import deliveries as deliveries_module
from runtime.deliveries import Deliveries, Delivery, Phase


def record(position: int) -> Record:
    return Record(position, ("Room", "a"), position, "WasHeld", 0, None, b"{}", b"{}")


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(["", "a", "b", "c", "d"]), max_size=40),
    st.integers(1, 4),
    st.randoms(use_true_random=False),
    st.integers(0, 100),
)
def test_in_any_order(keys: list[str], at_once: int, rng: random.Random, start: int) -> None:
    """An empty key is an event that isn't followed."""
    aside: set[str] = set()
    taken = Deliveries(start, at_once, aside, lambda: 7)
    todo = list(enumerate(keys, start + 1))
    under_way: list[Delivery] = []
    pausing: list[Delivery] = []
    begun, finished, kept = defaultdict[str, list[int]](list), set[int](), dict[int, str]()
    followed = {position: key for position, key in todo if key}
    checkpoint = start
    while todo or under_way or pausing or taken.oldest is not None:
        choice = rng.choice(["take", "start", "done", "fail", "again", "give up", "commit"])
        if choice == "take" and todo:
            position, key = todo.pop(0)
            if key:
                taken.add(record(position), [object()], key)
            else:
                taken.passed(record(position))
        elif choice == "start" and (delivery := taken.start()) is not None:
            assert all(other.key != delivery.key for other in under_way + pausing)
            under_way.append(delivery)
            assert taken.under_way == len(under_way) <= at_once
            position = delivery.record.position
            if position not in begun[delivery.key]:
                assert all(one in finished for one, key in followed.items() if key == delivery.key and one < position)
                begun[delivery.key].append(position)
        elif choice == "done" and under_way:
            delivery = under_way.pop(rng.randrange(len(under_way)))
            taken.done(delivery)
            finished.add(delivery.record.position)
        elif choice == "fail" and under_way:
            delivery = under_way.pop(rng.randrange(len(under_way)))
            taken.pause(delivery)
            pausing.append(delivery)
        elif choice == "again" and pausing:
            taken.again(pausing.pop(rng.randrange(len(pausing))))
        elif choice == "give up" and under_way:
            delivery = under_way.pop(rng.randrange(len(under_way)))
            taken.give_up(delivery, "bad")
            assert taken.parks(delivery.key)
        elif choice == "commit":
            position, at, settled = taken.reached()
            assert position >= checkpoint
            assert at is None or at.position == position
            assert at is not None or position == start
            rows = taken.rows(settled)
            kept.update({row.position: row.error for row in rows})
            aside.update(row.key for row in rows)
            taken.forget(settled)
            for one in range(checkpoint + 1, position + 1):  # nothing is left out
                assert one not in followed or one in finished or one in kept
            checkpoint = position
    assert all(order == sorted(order) for order in begun.values())
    assert finished.isdisjoint(kept)
    assert taken.to_park == 0 or taken.reached()[2] == []


def test_what_is_behind_one_that_is_set_aside_waits_with_it() -> None:
    taken = Deliveries(0, 2, set[str](), lambda: 7)
    first = taken.add(record(1), [object()], "a")
    second = taken.add(record(2), [object()], "a")
    assert taken.start() is first
    assert taken.start() is None
    taken.give_up(first, "bad")
    third = taken.add(record(3), [object()], "a")
    assert [one.phase for one in (first, second, third)] == [Phase.ASIDE] * 3
    position, at, settled = taken.reached()
    assert (position, at and at.position) == (3, 3)
    assert [(row.position, row.error, row.time) for row in taken.rows(settled)] == [
        (1, "bad", 7),
        (2, "", 7),
        (3, "", 7),
    ]
    assert taken.to_park == 3
    taken.forget(settled)
    assert (taken.to_park, taken.parks("a"), taken.room) == (0, False, deliveries_module.WINDOW)
