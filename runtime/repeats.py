"""Repeats: a command that comes again, with its id, is answered with its first reply, which stands in the journal."""

from typing import Any, cast

from actors import Command, CommandIdReused, Failed, OutcomeUnknown, ReplyErased
from actors.messages import reply_type
from persistence import JournalError, NotDecodable
from runtime.cells import Cell
from runtime.fingerprint import fingerprints_of
from runtime.kinds import FENCED, meta_of
from runtime.mailbox import Envelope, ReplyTo


async def answer_again(cell: Cell, envelope: Envelope, version: int, reply: ReplyTo) -> None:
    """Answer a repeated command with its first reply, from the journal."""
    try:
        value = await first_reply(cell, envelope.message, version, envelope.data)
    except ReplyErased as error:
        request = cast(type[Command[Any, Any]], type(envelope.message))
        if envelope.undoes is None and reply_type(request) is not type(None):
            reply.failed(error)
        else:
            reply.done(None)  # that is what the reply was, or all that an undo has to say
    except Exception as error:  # noqa: BLE001 (goes to the asker, who may ask again)
        reply.failed(error)
    else:
        reply.done(value)


async def first_reply(cell: Cell, command: Command[Any, Any], version: int, data: bytes | None = None) -> Any:
    """Return the reply that a command got when it took effect.

    Raises:
        CommandIdReused: it was another command.
        ReplyErased: it has been erased.
        OutcomeUnknown: the journal can't be read now.
    """
    try:
        durable = await cell.world.writer.barrier()
        page = await cell.world.journal.read(cell.stream, version - 1, 1) if durable else []
    except JournalError as error:
        raise OutcomeUnknown(f"the first reply of {cell.address} can't be read: {error}") from error
    if not durable:
        raise OutcomeUnknown(f"the first reply of {cell.address} may be lost: the journal could not be written")
    if not page or page[0].version != version:
        raise ReplyErased(
            f"{cell.address} has handled this {type(command).__name__} before, once; its reply was erased since, "
            f"with the event at version {version}"
        )
    record = page[0]
    meta = meta_of(record)
    if meta.fingerprint not in fingerprints_of(command, data, cell.kind.codec):
        raise CommandIdReused(
            f"{cell.address} has already handled another command with the id {record.command!r}; "
            f"give this {type(command).__name__} an id of its own"
        )
    if record.type == FENCED:
        return None  # an undo that found nothing to undo got no reply of the author's
    try:
        return cell.kind.reply(type(command)).decode(meta.reply)
    except NotDecodable as error:
        raise Failed(f"the first reply to {record.command!r} can't be read: {error}") from error
