"""The records that a group of appends becomes."""

from collections.abc import Sequence

from persistence.journal import Batch, Record


def to_records(batches: Sequence[Batch], first: int) -> list[Record]:
    """Return the records of a group whose first event got the position ``first``."""
    records: list[Record] = []
    position = first
    for batch in batches:
        for append in batch:
            stream, time = append.stream, append.time
            version, command = append.expected, append.command
            for event in append.events:
                version += 1
                value, id_, tags = event.value, event.id, event.tags
                records.append(
                    Record(
                        position, stream, version, event.type, time, command, event.data, event.meta, value, id_, tags
                    )
                )
                position += 1
                command = None
    return records
