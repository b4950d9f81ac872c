"""Reading a whole journal back, which is what most tests of crashes look at in the end."""

from persistence import Journal, Record


async def everything(journal: Journal) -> list[Record]:
    """Open a journal, return all of its records, and close it."""
    await journal.open()
    try:
        records: list[Record] = []
        while page := await journal.read_all(len(records)):
            records += page
        return records
    finally:
        await journal.close()
