"""Tables made for asking: statements of accounts, what is pending, and the money of the whole bank.

They are filled from the events and can be thrown away and built anew at any time.
"""

from collections.abc import Iterator
from typing import Any

import aiosqlite

from actors import Message, Meta, Query, ReadModel, Statement, sql
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


class Movement(Message):
    """One line of a statement."""

    day: str
    transfer: str
    other: str
    """The account at the other end."""
    cents: int
    """Negative: it went away."""
    balance: int
    """Cents, after it."""


class StatementOf(Query["Statements", list[Movement]]):
    """The last movements of an account, oldest first."""

    account: str
    last: int = 50


class PendingRow(Message):
    """Money that is under way."""

    transfer: str
    other: str
    cents: int
    """Negative: it is held here, and will go away."""


class PendingAt(Query["Statements", list[PendingRow]]):
    """What is under way, from an account or to it."""

    account: str


class Statements(ReadModel):
    """What customers look at."""

    schema = """
        create table movements (
            number integer primary key, account text not null, day text not null, transfer text not null,
            other text not null, cents integer not null, balance integer not null);
        create index movements_account on movements (account, number);
        create table pending (
            account text not null, transfer text not null, other text not null, cents integer not null,
            primary key (account, transfer));
    """

    def project(
        self,
        event: MoneyWithdrawn | MoneyDeposited | MoneyHeld | HoldReleased | TransferAnnounced | TransferCalledOff,
        meta: Meta,
    ) -> Iterator[Statement]:
        """Turn an event into changes of rows."""
        match event:
            case MoneyWithdrawn(transfer, to, cents):
                yield from self._moved(meta, transfer, to, -cents)
            case MoneyDeposited(transfer, source, cents):
                yield from self._moved(meta, transfer, source, cents)
            case MoneyHeld(transfer, to, cents):
                yield sql("insert into pending values (?, ?, ?, ?)", meta.key, transfer, to, -cents)
            case TransferAnnounced(transfer, source, cents):
                yield sql("insert into pending values (?, ?, ?, ?)", meta.key, transfer, source, cents)
            case HoldReleased(transfer) | TransferCalledOff(transfer):
                yield self._no_more_pending(meta, transfer)

    def _moved(self, meta: Meta, transfer: str, other: str, cents: int) -> Iterator[Statement]:
        yield sql(
            """insert into movements (account, day, transfer, other, cents, balance) values (?1, ?2, ?3, ?4, ?5, ?5 +
                coalesce((select balance from movements where account = ?1 order by number desc limit 1), 0))""",
            *(meta.key, f"{meta.time:%Y-%m-%d}", transfer, other, cents),
        )
        yield self._no_more_pending(meta, transfer)

    def _no_more_pending(self, meta: Meta, transfer: str) -> Statement:
        return sql("delete from pending where account = ? and transfer = ?", meta.key, transfer)

    async def answer(self, db: aiosqlite.Connection, query: StatementOf | PendingAt) -> Any:
        """Answer a query from the tables."""
        match query:
            case StatementOf(account, last):
                select = """select day, transfer, other, cents, balance from
                    (select * from movements where account = ? order by number desc limit ?) order by number"""
                return [Movement(*row) for row in await db.execute_fetchall(select, (account, last))]
            case PendingAt(account):
                select = "select transfer, other, cents from pending where account = ? order by transfer"
                return [PendingRow(*row) for row in await db.execute_fetchall(select, (account,))]


class Sums(Message):
    """All the money of the bank, in cents. The three are zero together, always."""

    customers: int
    own: int
    """What the bank's own accounts have; less than nothing, for what customers have came from there."""
    under_way: int
    """What has left one account and has not come to the other."""


class SumOfAll(Query["Totals", Sums]):
    """How much money there is, and where."""


class AllAccounts(Query["Totals", list[str]]):
    """The names of all accounts that were ever opened."""


class Totals(ReadModel):
    """What the bank's director looks at."""

    schema = """
        create table accounts (account text primary key, own integer not null, open integer not null, cents integer
            not null);
        create table under_way (transfer text primary key, cents integer not null);
    """

    def project(
        self, event: AccountOpened | AccountClosed | MoneyWithdrawn | MoneyDeposited, meta: Meta
    ) -> Iterator[Statement]:
        """Turn an event into changes of rows."""
        match event:
            case AccountOpened(overdraft):
                yield sql("insert into accounts values (?, ?, 1, 0)", meta.key, overdraft is None)
            case AccountClosed():
                yield sql("update accounts set open = 0 where account = ?", meta.key)
            case MoneyWithdrawn(transfer, _, cents):
                yield sql("update accounts set cents = cents - ? where account = ?", cents, meta.key)
                yield sql("insert into under_way values (?, ?)", transfer, cents)
            case MoneyDeposited(transfer, _, cents):
                yield sql("update accounts set cents = cents + ? where account = ?", cents, meta.key)
                yield sql("delete from under_way where transfer = ?", transfer)

    async def answer(self, db: aiosqlite.Connection, query: SumOfAll | AllAccounts) -> Any:
        """Answer a query from the tables."""
        match query:
            case SumOfAll():
                select = """select coalesce(sum(cents) filter (where not own), 0),
                    coalesce(sum(cents) filter (where own), 0),
                    (select coalesce(sum(cents), 0) from under_way) from accounts"""
                (row,) = await db.execute_fetchall(select)
                return Sums(*row)
            case AllAccounts():
                return [row[0] for row in await db.execute_fetchall("select account from accounts order by account")]
