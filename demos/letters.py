"""Letters to the outside world, each of which goes out once."""

from urllib.parse import quote

import anyio


async def put(folder: anyio.Path, message_id: str, text: str) -> bool:
    """Put a letter into a folder, unless the one with this id is there; return whether it was put there now.

    A plain actor may get a message more than once, with the same id each time. The letter's file is named by it.
    """
    letter = folder / f"{quote(message_id, safe='')}.txt"
    if await letter.exists():
        return False
    draft = letter.with_suffix(".part")
    await draft.write_text(text, encoding="utf-8")
    await draft.rename(letter)  # whole or not at all, also when we die right here
    return True
