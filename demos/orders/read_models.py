"""Tables made for asking: a customer's orders, and who is there at all.

They are filled from the events and can be thrown away and built anew at any time.
"""

from collections.abc import Iterator
from typing import Any

import aiosqlite

from actors import Message, Meta, Query, ReadModel, Statement, sql
from demos.orders.messages import (
    AccountOpened,
    CarrierOpened,
    CartCheckedOut,
    OrderCancelled,
    OrderPlaced,
    OrderShipped,
    PiecesSupplied,
)


class OrderRow(Message):
    """An order as its customer wants to see it."""

    order: str
    euros: int
    status: str


class OrdersOf(Query["Orders", list[OrderRow]]):
    """The orders of a customer, in the order in which they were placed."""

    customer: str


class Everybody(Query["Orders", list[tuple[str, str]]]):
    """All products, accounts and carriers there are, and the carts that were checked out, as (actor, key)."""


class Orders(ReadModel):
    """What customers and clerks look at."""

    schema = """
        create table orders (
            number integer primary key, "order" text not null unique, customer text not null,
            euros integer not null, status text not null);
        create index orders_customer on orders (customer);
        create table everybody (actor text not null, key text not null, primary key (actor, key));
    """

    def project(
        self,
        event: OrderPlaced
        | OrderCancelled
        | OrderShipped
        | PiecesSupplied
        | AccountOpened
        | CarrierOpened
        | CartCheckedOut,
        meta: Meta,
    ) -> Iterator[Statement]:
        """Turn an event into changes of rows."""
        match event:
            case OrderPlaced(customer, _, euros):
                values = (meta.key, customer, euros)
                yield sql("insert into orders (\"order\", customer, euros, status) values (?, ?, ?, 'placed')", *values)
            case OrderCancelled():
                yield sql("update orders set status = 'cancelled' where \"order\" = ?", meta.key)
            case OrderShipped():
                yield sql("update orders set status = 'shipped' where \"order\" = ?", meta.key)
            case PiecesSupplied() | AccountOpened() | CarrierOpened() | CartCheckedOut():
                yield sql("insert or ignore into everybody values (?, ?)", meta.actor, meta.key)

    async def answer(self, db: aiosqlite.Connection, query: OrdersOf | Everybody) -> Any:
        """Answer a query from the tables."""
        match query:
            case OrdersOf(customer):
                select = 'select "order", euros, status from orders where customer = ? order by number'
                return [OrderRow(*row) for row in await db.execute_fetchall(select, (customer,))]
            case Everybody():
                return [(row[0], row[1]) for row in await db.execute_fetchall("select actor, key from everybody")]
