"""A full-text search of all orders: by article, by customer and by status, an instant after the event."""

from collections.abc import Iterator

import aiosqlite

from actors import Message, Meta, Query, ReadModel, Statement, sql
from demos.full_text import for_fts5
from demos.orders.messages import OrderCancelled, OrderPlaced, OrderShipped


class OrderFound(Message):
    """An order that a search has found."""

    order: str
    customer: str
    articles: str
    """Their names, with spaces between them."""
    status: str


class SearchOrders(Query["OrderSearch", list[OrderFound]]):
    """The orders with all of these words, or words that begin so, in any field; the latest first."""

    words: str
    limit: int = 20


class OrderSearch(ReadModel):
    """What clerks search in."""

    schema = """
        create table found (number integer primary key, "order" text not null unique);
        create virtual table texts using fts5 ("order", customer, articles, status);
    """

    def project(self, event: OrderPlaced | OrderCancelled | OrderShipped, meta: Meta) -> Iterator[Statement]:
        """Turn an event into changes of rows. A text has the number of its order."""
        match event:
            case OrderPlaced(customer, lines, _):
                articles = " ".join(line.product for line in lines)
                yield sql('insert into found ("order") values (?)', meta.key)
                yield sql(
                    """insert into texts (rowid, "order", customer, articles, status)
                        select number, "order", ?, ?, 'placed' from found where "order" = ?""",
                    *(customer, articles, meta.key),
                )
            case OrderCancelled():
                yield self._is_now("cancelled", meta)
            case OrderShipped():
                yield self._is_now("shipped", meta)

    def _is_now(self, status: str, meta: Meta) -> Statement:
        number = """(select number from found where "order" = ?)"""
        return sql(f"update texts set status = ? where rowid = {number}", status, meta.key)  # noqa: S608 (all is ours)

    async def answer(self, db: aiosqlite.Connection, query: SearchOrders) -> list[OrderFound]:
        """Answer a query from the tables."""
        wanted = for_fts5(query.words)
        if not wanted:
            return []
        select = """select "order", customer, articles, status from texts where texts match ?
            order by rowid desc limit ?"""
        return [OrderFound(*row) for row in await db.execute_fetchall(select, (wanted, query.limit))]
