"""A plain actor: the one that talks to the outside world, here a folder for outgoing mail."""

import anyio

from actors import Actor, Command
from demos import letters


class Confirm(Command["Mailer", bool]):
    """Tell a customer that a trip is booked; answered by whether a mail went out because of it."""

    customer: str
    trip: str


class Mailer(Actor):
    """Writes mail into an outbox, which is its key: ``Mailer.at("/var/spool/outbox")``.

    A plain actor may get a message more than once, with the same ``message_id`` each time: after a crash, or because
    somebody asked twice. The mail's file is named by it, so whatever happens, one mail goes out.
    """

    async def receive(self, message: Confirm) -> bool:
        """Put the mail into the outbox, unless it is there."""
        outbox = anyio.Path(self.key)
        await outbox.mkdir(mode=0o700, parents=True, exist_ok=True)
        text = f"Dear {message.customer},\n\nyour trip {message.trip} is booked.\n"
        return await letters.put(outbox, self.message_id, text)
