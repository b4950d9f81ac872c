"""A bank: accounts, transfers in two ways, and interest. Start with ``python -m demos.bank``.

Read it in this order: ``messages`` (what can happen), ``account`` (its rules), ``transfers`` (at once, and by saga),
``interest`` (what a schedule starts), ``read_models`` (tables to ask). ``story`` with ``year``, ``ways``, ``waiting``
and ``looking_back``, and ``load``, put them to work. ``ledger`` and ``books`` check afterwards that debits and credits
are equal at every position of the journal.
"""

from demos.bank.account import Account
from demos.bank.interest import Interest
from demos.bank.read_models import Statements, Totals
from demos.bank.transfers import TransferSaga

ACTORS: list[type] = [Account, TransferSaga, Interest, Statements, Totals]
"""All actors of this application, for ``Runtime(..., actors=ACTORS)``."""
