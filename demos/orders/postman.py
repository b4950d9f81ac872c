"""A plain actor: the one that talks to the outside world, here the customers' letterboxes."""

from datetime import timedelta

import anyio

from actors import Actor, Command
from demos import letters


class Deliver(Command["Postman", bool]):
    """Bring a customer a letter; answered by whether one was put into the letterbox because of it."""

    text: str


class NoLetterbox(Exception):
    """There is none at this address, and waiting for one is of no use."""


class Postman(Actor):
    """Delivers to one letterbox, a folder, which is its key: ``Postman.at("/home/ana/letters")``.

    A message may come more than once, with the same ``message_id`` each time. The letter is named by it, so whatever
    happens, one is delivered.
    """

    time_limit = timedelta(seconds=20)

    async def receive(self, message: Deliver) -> bool:
        """Put the letter into the letterbox, unless it is there."""
        letterbox = anyio.Path(self.key)
        if not await letterbox.is_dir():
            raise NoLetterbox("there is no letterbox")
        return await letters.put(letterbox, self.message_id, message.text)
