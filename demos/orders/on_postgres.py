"""The tables on PostgreSQL, the search with ``tsvector``: actors of the same names, the same queries and answers."""

from collections.abc import Iterator
from typing import Any

from actors import Meta, Statement, sql
from demos.full_text import for_tsquery
from demos.orders import read_models, search
from demos.orders.messages import (
    AccountOpened,
    CarrierOpened,
    CartCheckedOut,
    OrderCancelled,
    OrderPlaced,
    OrderShipped,
    PiecesSupplied,
)
from demos.orders.read_models import Everybody, OrderRow, OrdersOf
from demos.orders.search import OrderFound, SearchOrders

Listed = PiecesSupplied | AccountOpened | CarrierOpened | CartCheckedOut
Ended = OrderCancelled | OrderShipped


class Orders(read_models.Orders):
    """What customers and clerks look at."""

    schema = """
        create table orders (
            number bigint generated always as identity primary key, "order" text not null unique,
            customer text not null, euros bigint not null, status text not null);
        create index orders_customer on orders (customer);
        create table everybody (actor text not null, key text not null, primary key (actor, key));
    """

    def project(self, event: OrderPlaced | Ended | Listed, meta: Meta) -> Iterator[Statement]:
        """Turn an event into changes of rows."""
        match event:
            case OrderPlaced(customer, _, euros):
                values = (meta.key, customer, euros)
                yield sql(
                    "insert into orders (\"order\", customer, euros, status) values ($1, $2, $3, 'placed')", *values
                )
            case OrderCancelled():
                yield sql("update orders set status = 'cancelled' where \"order\" = $1", meta.key)
            case OrderShipped():
                yield sql("update orders set status = 'shipped' where \"order\" = $1", meta.key)
            case _:
                yield sql("insert into everybody values ($1, $2) on conflict do nothing", meta.actor, meta.key)

    async def answer(self, db: Any, query: OrdersOf | Everybody) -> Any:
        """Answer a query from the tables."""
        match query:
            case OrdersOf(customer):
                select = 'select "order", euros, status from orders where customer = $1 order by number'
                return [OrderRow(*row) for row in await db.fetch(select, customer)]
            case Everybody():
                return [(row[0], row[1]) for row in await db.fetch("select actor, key from everybody")]


class OrderSearch(search.OrderSearch):
    """What clerks search in."""

    # PostgreSQL takes "run-7" for a word and a negative number. Here words are words.
    schema = r"""
        create table texts (
            number bigint generated always as identity primary key, "order" text not null unique,
            customer text not null, articles text not null, status text not null,
            words tsvector not null generated always as (to_tsvector('simple', regexp_replace(
                "order" || ' ' || customer || ' ' || articles || ' ' || status, '\W+', ' ', 'g'))) stored);
        create index texts_words on texts using gin (words);
    """

    def project(self, event: OrderPlaced | Ended, meta: Meta) -> Iterator[Statement]:
        """Turn an event into changes of rows."""
        match event:
            case OrderPlaced(customer, lines, _):
                articles = " ".join(line.product for line in lines)
                values = (meta.key, customer, articles)
                insert = "insert into texts (\"order\", customer, articles, status) values ($1, $2, $3, 'placed')"
                yield sql(insert, *values)
            case OrderCancelled():
                yield sql("update texts set status = 'cancelled' where \"order\" = $1", meta.key)
            case OrderShipped():
                yield sql("update texts set status = 'shipped' where \"order\" = $1", meta.key)

    async def answer(self, db: Any, query: SearchOrders) -> list[OrderFound]:
        """Answer a query from the tables."""
        wanted = for_tsquery(query.words)
        if not wanted:
            return []
        select = """select "order", customer, articles, status from texts
            where words @@ to_tsquery('simple', $1) order by number desc limit $2"""
        return [OrderFound(*row) for row in await db.fetch(select, wanted, query.limit)]
