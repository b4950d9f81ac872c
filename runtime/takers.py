"""Who takes which messages, and answers which queries, by the names of the classes of actors."""

from typing import Any

from actors import Address, NotTaken, Query, UnknownActor
from actors.address import check_address
from persistence import NotEncodable
from persistence.intake import check_text
from persistence.limits import KEY_LENGTH
from runtime.kinds import Kind

LONGEST_KEY = 1_024
"""The longest key of an actor, in characters: streams and commands have names that are made of it."""


class Takers:
    """Knows classes of actors by name, and so what may be sent to an address."""

    _kinds: dict[str, Kind]
    """Those that were looked for already, or given."""

    def kind(self, name: str) -> Kind:
        """Return the kind of a class of actors.

        Raises:
            UnknownActor: there is none of this name.
        """
        raise NotImplementedError

    def kind_at(self, address: Address[Any]) -> Kind:
        """Return the kind of the actor at an address.

        Raises:
            UnknownActor: there is no such class of actors, or it is no address.
        """
        if type(address) is not Address or type(address.key) is not str:  # asked for each message: no call where it is
            check_address(address)
        return self._kinds.get(address.actor) or self.kind(address.actor)

    def check(self, address: Address[Any], message: object) -> None:
        """Make sure that the actor at an address takes a message.

        Raises:
            UnknownActor: there is no such class of actors, or it is no address.
            NotTaken: it takes other messages.
        """
        check_takes(self.kind_at(address), address, message)

    def check_answers(self, address: Address[Any], query: object) -> None:
        """Make sure that the actor at an address answers a query by itself.

        Raises:
            UnknownActor: there is no such class of actors, or it is no address.
            NotTaken: it answers other queries, or none.
        """
        kind = self.kind_at(address)
        if type(query) not in kind.queries:
            others = ", ".join(sorted(one.__name__ for one in kind.queries))
            only = f", only {others}" if others else ""
            raise NotTaken(
                f"{address} answers no queries of this kind{only}; ask a read model, or name {type(query).__name__} in "
                f"the annotation of {kind.name}.answer"
            )


def check_takes(kind: Kind, address: Address[Any], message: object) -> None:
    """Make sure that the actor at an address, which is of this kind, takes a message.

    Raises:
        NotTaken: it takes other messages.
    """
    if type(message) not in kind.takes:
        raise _not_taken(kind, address, message)


def _not_taken(kind: Kind, address: Address[Any], message: Any) -> NotTaken:
    """Return the error for a message that an actor doesn't take."""
    name = type(message).__name__
    if isinstance(message, type):
        return NotTaken(f"{message.__name__} is a class, not a message; write {message.__name__}(...)")
    if isinstance(message, Query):
        return NotTaken(
            f"{name} is a query, which changes nothing: it can't be sent, only asked, by "
            f"await runtime.ask({address}, ...) or the ask of an async actor or of a saga"
        )
    takes = ", ".join(sorted(kind.commands)) or "queries"
    return NotTaken(f"{kind.name} doesn't take {name}, only {takes}")


def check_key(address: Address[Any]) -> None:
    """Make sure that the key of an actor can be kept.

    Raises:
        UnknownActor: it can't.
    """
    if len(address.key) <= LONGEST_KEY and address.key.isascii():
        return
    try:
        check_text("an actor's key", address.key, KEY_LENGTH if "." in address.actor else LONGEST_KEY)
    except NotEncodable as error:
        raise UnknownActor(str(error)) from error
