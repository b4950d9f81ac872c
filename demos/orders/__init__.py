"""A shop: orders are approved, paid and shipped, or cancelled. Start with ``python -m demos.orders``.

Read it in this order: ``messages`` (what can happen), ``order``, ``stock``, ``payments`` and ``carrier`` (who does
what, and by which rules), ``checkout`` (the way of an order through all of them) with ``parcels`` (a saga within it)
and ``postman`` (letters to the outside world), ``cart`` (where orders come from), ``read_models`` (tables to ask) and
``search`` (full text), and both of these once more ``on_postgres``. ``story``, ``trouble``, ``shopping`` and ``load``
put them to work, and ``books`` checks afterwards that every piece and every euro is where it belongs.
"""

from demos.orders import on_postgres
from demos.orders.carrier import Carrier
from demos.orders.cart import Cart
from demos.orders.checkout import Checkout
from demos.orders.order import Order
from demos.orders.parcels import Parcels
from demos.orders.payments import Payments
from demos.orders.postman import Postman
from demos.orders.read_models import Orders
from demos.orders.search import OrderSearch
from demos.orders.stock import Stock

ACTORS: list[type] = [Order, Stock, Payments, Carrier, Checkout, Parcels, Postman, Cart, Orders, OrderSearch]
"""All actors of this application, for ``Runtime(..., actors=ACTORS)``."""
ON_POSTGRES: list[type] = [*ACTORS[:-2], on_postgres.Orders, on_postgres.OrderSearch]
"""The same where read models are on PostgreSQL: ``Runtime(..., ON_POSTGRES, views="postgresql://...")``."""
