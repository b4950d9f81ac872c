"""How deep JSON is, told without reading it: exact, whatever stands in its texts."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from persistence import limits
from persistence.limits import MAX_DEPTH, too_deep

TEXT = st.text('[]{}"\\a\0é', max_size=6)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=12,
)


def depth_of(value: Any) -> int:
    whole = value
    if isinstance(value, dict):
        return 1 + max(map(depth_of, whole.values()), default=0)
    return 1 + max(map(depth_of, whole), default=0) if isinstance(value, list) else 0


@given(JSON, st.booleans(), st.integers(1, 7))
@example(["]", ["]", ["[[["]]], False, 3)
@example(["\\", [['"']]], True, 2)
def test_it_is_the_depth_that_counts(value: Any, plain: bool, size: int) -> None:
    data = json.dumps(value, ensure_ascii=plain).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "_SLICE", size)
        for limit in range(1, 8):
            assert too_deep(data, limit) == (depth_of(value) > limit)


@pytest.mark.parametrize("begin", ["[", '{"a":', '["]",', '{"}":"}","\\\\":'])
def test_the_limit_is_exact(begin: str) -> None:
    end = "]" if begin[0] == "[" else "}"
    for depth in (MAX_DEPTH, MAX_DEPTH + 1):
        data = begin * depth + "1" + end * depth
        json.loads(data)
        assert too_deep(data.encode()) == (depth > MAX_DEPTH)


def test_many_beside_each_other_are_not_deep() -> None:
    assert not too_deep(json.dumps([{"a": ["[[[", {}]}] * 50_000).encode())


@pytest.mark.parametrize("data", [b"[" * 5_000, b"]" * 5_000, b'"' + b"[" * 5_000, b"[]" * 5_000, b'{"a":[' * 5_000])
def test_what_is_no_json_is_left_to_who_reads_it(data: bytes) -> None:
    assert not too_deep(data)
