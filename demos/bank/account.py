"""Accounts: their rules, and what they know."""

from typing import Literal, assert_never

from msgspec.structs import replace

from actors import Command, Decision, Message, Refused, Service, State
from demos.bank.messages import (
    AccountClosed,
    AccountOpened,
    HoldReleased,
    MoneyDeposited,
    MoneyHeld,
    MoneyWithdrawn,
    TransferAnnounced,
    TransferCalledOff,
)
from demos.bank.money import euros


class Pending(Message):
    """Money that is promised to another account, or by one."""

    other: str
    cents: int


class Balance(State):
    status: Literal["unknown", "open", "closed"] = "unknown"
    cents: int = 0
    overdraft: int | None = 0
    """How far below zero it may go; None: as far as it likes."""
    held: dict[str, Pending] = {}
    """What is promised to others, by transfer. It is still counted in ``cents``."""
    announced: dict[str, Pending] = {}
    """What others have promised, by transfer."""

    @property
    def free(self) -> int:
        """How much may be spent, where there is a limit."""
        return self.cents + (self.overdraft or 0) - sum(one.cents for one in self.held.values())

    def can_spare(self, cents: int) -> bool:
        """Whether so much may be spent."""
        return self.overdraft is None or cents <= self.free


class OpenAccount(Command["Account", None]):
    overdraft: int | None = 0


class CloseAccount(Command["Account", None]): ...


class Withdraw(Command["Account", None]):
    """One half of a transfer; the other one is :class:`Deposit`."""

    transfer: str
    to: str
    cents: int


class Deposit(Command["Account", None]):
    transfer: str
    source: str
    cents: int


class Hold(Command["Account", None]):
    """Promise money to a transfer."""

    transfer: str
    to: str
    cents: int


class Release(Command["Account", None]):
    """Undoes :class:`Hold`."""

    transfer: str


class Settle(Command["Account", None]):
    """Give away what is held for a transfer."""

    transfer: str


class Announce(Command["Account", None]):
    """Say that money will come; an account that has not said no by then takes it."""

    transfer: str
    source: str
    cents: int


class CallOff(Command["Account", None]):
    """Undoes :class:`Announce`."""

    transfer: str


class Credit(Command["Account", None]):
    """Take what was announced."""

    transfer: str


class InterestOn(Command["Account", int]):
    """Tell what an account has earned in a month, in cents, at so many hundredths of a percent a year."""

    basis_points: int


AccountCommand = (
    OpenAccount | CloseAccount | Withdraw | Deposit | Hold | Release | Settle | Announce | CallOff | Credit | InterestOn
)
AccountEvent = (
    AccountOpened
    | AccountClosed
    | MoneyWithdrawn
    | MoneyDeposited
    | MoneyHeld
    | HoldReleased
    | TransferAnnounced
    | TransferCalledOff
)


class Account(Service[Balance, AccountCommand, AccountEvent]):
    """An account, by its number or name: ``Account.at("ana")``. Its balance is the sum of what has happened to it."""

    initial = Balance()

    def decide(self, state: Balance, command: AccountCommand) -> Decision:
        """Give away no more than there is, and take nothing when closed."""
        match command:
            case OpenAccount() if state.status != "unknown":
                raise Refused(f"account {self.key} was opened before")
            case OpenAccount(overdraft):
                return command.reply(None, AccountOpened(overdraft))
            case Release(transfer):
                return command.reply(None, *([HoldReleased(transfer)] if transfer in state.held else []))
            case CallOff(transfer):
                return command.reply(None, *([TransferCalledOff(transfer)] if transfer in state.announced else []))
            case _ if state.status != "open":
                raise Refused(
                    f"{self.key} is closed" if state.status == "closed" else f"there is no account {self.key}"
                )
            case CloseAccount() if state.cents or state.held or state.announced:
                raise Refused(f"{self.key} has {euros(state.cents)} euros, or expects some")
            case CloseAccount():
                return command.reply(None, AccountClosed())
            case Withdraw(transfer, to, cents):
                self._may_leave(state, to, cents)
                return command.reply(None, MoneyWithdrawn(transfer, to, cents))
            case Hold(transfer, to, cents):
                self._may_leave(state, to, cents)
                return command.reply(None, MoneyHeld(transfer, to, cents))
            case Deposit(transfer, source, cents):
                return command.reply(None, MoneyDeposited(transfer, source, cents))
            case Announce(transfer, source, cents):
                return command.reply(None, TransferAnnounced(transfer, source, cents))
            case Settle(transfer):
                held = self._known(state.held, transfer)
                return command.reply(None, MoneyWithdrawn(transfer, held.other, held.cents))
            case Credit(transfer):
                announced = self._known(state.announced, transfer)
                return command.reply(None, MoneyDeposited(transfer, announced.other, announced.cents))
            case InterestOn(basis_points):
                return command.reply(max(0, state.cents * basis_points // (10_000 * 12)))
            case _:
                assert_never(command)

    def _may_leave(self, state: Balance, to: str, cents: int) -> None:
        if cents < 1:
            raise Refused(f"a transfer moves a cent at the least, not {euros(cents)} euros")
        if to == self.key:
            raise Refused(f"{self.key} can't pay itself")
        if not state.can_spare(cents):
            raise Refused(f"{self.key} has {euros(state.free)} euros to spend, not {euros(cents)}")

    def _known(self, pending: dict[str, Pending], transfer: str) -> Pending:
        if transfer not in pending:
            raise Refused(f"{self.key} knows of no transfer {transfer}")
        return pending[transfer]

    def evolve(self, state: Balance, event: AccountEvent) -> Balance:
        """Return the next state; the one that was given stays as it is."""
        match event:
            case AccountOpened(overdraft):
                return replace(state, status="open", overdraft=overdraft)
            case AccountClosed():
                return replace(state, status="closed")
            case MoneyWithdrawn(transfer, _, cents):
                return replace(state, cents=state.cents - cents, held=_without(state.held, transfer))
            case MoneyDeposited(transfer, _, cents):
                return replace(state, cents=state.cents + cents, announced=_without(state.announced, transfer))
            case MoneyHeld(transfer, to, cents):
                return replace(state, held={**state.held, transfer: Pending(to, cents)})
            case HoldReleased(transfer):
                return replace(state, held=_without(state.held, transfer))
            case TransferAnnounced(transfer, source, cents):
                return replace(state, announced={**state.announced, transfer: Pending(source, cents)})
            case TransferCalledOff(transfer):
                return replace(state, announced=_without(state.announced, transfer))
            case _:
                assert_never(event)


def _without(pending: dict[str, Pending], transfer: str) -> dict[str, Pending]:
    return {known: one for known, one in pending.items() if known != transfer} if transfer in pending else pending
