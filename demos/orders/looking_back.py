"""The last part of the story: what can be learnt from a journal afterwards."""

from demos.orders import books
from demos.orders.books import Books
from demos.orders.read_models import Orders, OrdersOf
from demos.orders.retelling import in_words
from demos.orders.stage import Stage
from demos.report import tell_books


async def customers(stage: Stage) -> None:
    """What the customers see."""
    page = stage.page
    page.scene("8  What the customers see")
    page.say("A table of orders is filled from the journal. Asked consistently, it knows all that was written before.")
    rows: list[tuple[str, str, str, str]] = []
    for customer in ("Ana", "Ben", "Cleo", "Dan", "Eve", "Finn", "Gina", "Hugo", "Iris", "Jana"):
        found = await stage.runtime.ask(Orders.at(), OrdersOf(stage.named(customer)), consistent=True)
        rows += [(str(len(rows) + 1), customer, f"{row.euros} euros", row.status) for row in found]
    page.table(("", "customer", "price", "status"), rows)


async def a_way_back(stage: Stage) -> None:
    """Every event of one order."""
    ben = stage.order("Ben")
    stage.page.scene("9  All that ever happened to Ben's order")
    stage.page.say(
        "Every event of everybody who took part, in order. A step and its undo are written down together, before the "
        "step is tried, so that whoever finds this journal knows the way back."
    )
    trail = sorted(
        [*await stage.runtime.trail(ben), *await stage.history(stage.parcels("Ben"))],
        key=lambda entry: entry.meta.position,
    )
    rows = {entry.meta.position: (stage.plain(entry.meta.event_id), stage.plain(in_words(entry))) for entry in trail}
    stage.page.table(("no.", "event", "what happened"), [(str(n), *row) for n, row in rows.items()])


async def check_books(stage: Stage) -> Books:
    """The books, computed anew from the journal."""
    stage.page.scene("10  Do the books balance?")
    audited = await books.audit(stage.runtime)
    tell_books(audited, stage.page)
    return audited
