"""Ids that a service has seen: none is forgotten, whatever leaves the memory, and few are mistaken."""

import hashlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import seen as module
from runtime.seen import EVERY_ID, FIRST_FILTER, LAST_FILTER, RECENT, BloomFilter, KeptSeen, Seen

IDS = st.text(max_size=3)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RECENT", 3)


def kept_and_back(seen: Seen) -> Seen:
    return msgspec.json.decode(msgspec.json.encode(seen.kept()), type=KeptSeen).seen()


def test_a_short_list_is_exact_and_has_no_filter() -> None:
    seen = Seen()
    for number in range(2 * RECENT):
        seen.note(f"id {number}", number + 1)
    assert seen.older is None
    assert not seen.unsure("id x")
    assert seen == {f"id {number}": number + 1 for number in range(2 * RECENT)}
    assert kept_and_back(seen) == seen
    assert kept_and_back(seen).older is None


def test_the_oldest_leave_and_are_not_forgotten() -> None:
    seen = Seen()
    for number in range(2 * RECENT + 1):
        seen.note(f"id {number}", number + 1)
    assert list(seen) == [f"id {number}" for number in range(RECENT + 1, 2 * RECENT + 1)]
    assert all(seen.unsure(f"id {number}") for number in range(RECENT + 1))
    assert not any(seen.unsure(one) for one in seen)
    assert sum(seen.unsure(f"other {number}") for number in range(1_000)) < 20


def test_fences_and_answers_of_the_journal() -> None:
    seen = Seen()
    seen.note("fenced", -7)
    seen.note("asked", 0)
    for number in range(4 * RECENT):
        seen.note(f"id {number}", number + 1)
    assert seen["fenced"] == -7
    assert "asked" not in seen
    seen.note("asked again", 0)
    kept = kept_and_back(seen)
    assert kept["fenced"] == -7
    assert "asked again" not in kept


def test_many_fences_don_t_make_each_id_cost_a_look_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    times: list[int] = []
    clear_up = Seen._clear_up  # pyright: ignore[reportPrivateUsage]

    def counted(self: Seen) -> None:
        times.append(len(self))
        clear_up(self)

    monkeypatch.setattr(Seen, "_clear_up", counted)
    seen = Seen({f"fence {number}": -1 for number in range(10 * RECENT)})
    for number in range(5 * RECENT):
        seen.note(f"id {number}", number + 1)
    assert len(times) == 5


def test_what_was_rolled_back_is_forgotten() -> None:
    seen = Seen({"one": 1, "fenced": -2, "three": 3, "fenced too": -4, "asked": 0})
    seen.roll_back(2)
    assert seen == {"one": 1, "fenced": -2, "asked": 0}


def test_where_the_ids_are_lost_each_may_have_been_seen() -> None:
    seen = Seen({"one": 1}, EVERY_ID)
    assert seen.unsure("anything")
    assert not seen.unsure("one")
    for number in range(2 * RECENT + 1):
        seen.note(f"id {number}", number + 1)
    assert seen.unsure("anything")
    kept = kept_and_back(seen)
    assert kept.unsure("anything")
    assert kept == seen


@pytest.mark.usefixtures("small")
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("note"), IDS),
            st.tuples(st.just("fence"), IDS),
            st.tuples(st.just("ask"), IDS),
            st.tuples(st.sampled_from(["keep", "fail"]), st.just("")),
        )
    )
)
def test_it_knows_what_a_plain_mapping_knows(steps: list[tuple[str, str]]) -> None:
    seen, model, version = Seen(), dict[str, int](), 0
    for what, command_id in steps:
        known = model.get(command_id, 0)
        match what:
            case "keep":
                seen = kept_and_back(seen)
            case "fail":
                version -= version > 0
                model = {one: at for one, at in model.items() if abs(at) <= version}
                seen.roll_back(version)
            case "note" if not known:
                version += 1
                model[command_id] = version
                seen.note(command_id, version)
            case "fence" if known <= 0:
                version += 1
                model[command_id] = -version
                seen.note(command_id, -version)
            case "ask" if seen.unsure(command_id):
                seen[command_id] = known
            case _:
                pass
        for one in {*model, *seen, command_id, "new"}:
            assert seen.unsure(one) or seen.get(one, 0) == model.get(one, 0)
        assert all(seen[one] == at for one, at in model.items() if at < 0), "a fence is always known"


# -- the filter -------------------------------------------------------------------------------------------------------


@given(st.sets(st.text()), st.sets(st.text()))
def test_a_filter_forgets_none(first: set[str], second: set[str]) -> None:
    older = BloomFilter()
    older.add(first)
    again = BloomFilter(older.kept())
    again.add(second)
    for one in first | second:
        assert again.may_hold(one)


def test_an_empty_filter_holds_nothing() -> None:
    assert not any(BloomFilter().may_hold(f"{number}") for number in range(1_000))


@pytest.mark.parametrize("form", ["Trip/trip-{}#flight", "{}", "{:032x}", "0000000000-{:08}-request"])
def test_few_ids_are_mistaken(form: str) -> None:
    older, count = BloomFilter(), 9_216
    older.add(form.format(number) for number in range(count))  # two filters, both full
    assert [len(one) for one in older.kept()] == [FIRST_FILTER, 8 * FIRST_FILTER]
    assert all(older.may_hold(form.format(number)) for number in range(count))
    assert sum(older.may_hold(form.format(number)) for number in range(count, 2 * count)) < count // 100


def test_a_filter_that_was_kept_goes_on_where_it_was() -> None:
    older = BloomFilter()
    for number in range(60_000):
        older.add([f"id {number}"])
        if number % 1_000 == 0:
            older = BloomFilter(older.kept())
    assert [len(one) for one in older.kept()] == [FIRST_FILTER, 8 * FIRST_FILTER, 64 * FIRST_FILTER]
    assert sum(older.may_hold(f"other {number}") for number in range(10_000)) < 100


def test_the_largest_filter_takes_all_that_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LAST_FILTER", 8 * FIRST_FILTER)
    older = BloomFilter()
    older.add(f"id {number}" for number in range(30_000))
    assert [len(one) for one in older.kept()] == [FIRST_FILTER, 8 * FIRST_FILTER]
    assert all(older.may_hold(f"id {number}") for number in range(30_000))
    full = BloomFilter([b"\xff" * 8 * FIRST_FILTER])
    full.add(["one more"])
    assert full.may_hold("anything")


def test_what_is_stored_means_the_same_everywhere() -> None:
    older = BloomFilter()
    older.add(["TripSaga/trip-7#flight", "grüße"])
    (data,) = older.kept()
    assert hashlib.sha256(data).hexdigest()[:16] == "0509403e4b61ee4c"


@pytest.mark.parametrize("data", [b"", b"\0" * 8, b"\0" * (FIRST_FILTER + 8), b"\0" * (2 * LAST_FILTER)])
def test_what_is_no_filter_is_told(data: bytes) -> None:
    with pytest.raises(ValueError, match="no filter"):
        BloomFilter([data])
