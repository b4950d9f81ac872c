"""What can happen in this bank. These events are what the journal keeps, for ever.

Commands and queries stand beside the actor that takes them; events are for everybody. Money is in whole cents.

Only two of them move money, and each move of money is two of these: ``MoneyWithdrawn`` here and ``MoneyDeposited``
there, with the same transfer and the same amount. Whatever comes from outside comes from an account of the bank's own.
"""

from actors import Event


class AccountOpened(Event):
    """An account takes money from now on."""

    overdraft: int | None
    """How far below zero it may go; None: as far as it likes, for it is the bank's own."""


class AccountClosed(Event):
    """An account takes no money any more."""


class MoneyWithdrawn(Event):
    transfer: str
    to: str
    """The account that gets it."""
    cents: int


class MoneyDeposited(Event):
    transfer: str
    source: str
    """The account that it comes from."""
    cents: int


class MoneyHeld(Event):
    """It is still in the account, and promised to a transfer: nobody else gets it."""

    transfer: str
    to: str
    cents: int


class HoldReleased(Event):
    """The transfer is off, and the money is free again."""

    transfer: str


class TransferAnnounced(Event):
    """Money will come, and the account has said that it takes it."""

    transfer: str
    source: str
    cents: int


class TransferCalledOff(Event):
    """It won't come."""

    transfer: str
