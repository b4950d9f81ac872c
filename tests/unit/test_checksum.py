"""The checksums stay what they are: a change of their form would make a damaged journal of each that there is."""

from collections.abc import Sequence

import pytest

from persistence.checksum import crc_of, snapshot_crc
from persistence.journal import Snapshot, Stream

DATA, META = '{"type":"SeatHeld","trip":"café"}'.encode(), b'{"causation":"c"}'
TIME = 1_700_000_000_123_456

Row = tuple[int, Stream, str | None, str | None, Sequence[str], int]
"""Position, stream, command, id and tags of an event, and the checksum that releases before this one have written."""

KNOWN: dict[str, Row] = {
    "a plain event": (7, ("Flight", "LH441"), None, None, (), 2706094657),
    "as PostgreSQL takes it, without the position": (0, ("Flight", "LH441"), None, None, (), 853929427),
    "with a command, of an actor without a key": (7, ("Flight", ""), "TripSaga/t#flight", None, (), 1989647447),
    "an empty command is a command": (7, ("Flüge", "a/b c"), "", None, (), 3451461602),
    "with an id": (7, ("Flight", "LH441"), None, "e-1", (), 1317342856),
    "with tags": (7, ("Flight", "LH441"), "c", None, ("vip", "café"), 142033095),
    "with all of it": (0, ("Flight", "LH441"), "c", "é", ("",), 278363546),
}


@pytest.mark.parametrize("row", KNOWN.values(), ids=KNOWN.keys())
def test_an_event_has_the_checksum_that_it_had(row: Row) -> None:
    position, stream, command, id_, tags, crc = row
    assert crc_of(position, stream, 3, "SeatHeld", TIME, command, DATA, META, id_, tags) == crc


def test_a_snapshot_has_the_checksum_that_it_had() -> None:
    assert snapshot_crc(("Flight", "a/b"), Snapshot(5, "f1", b'{"x":1}')) == 882031004
