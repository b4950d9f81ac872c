"""The payment service: takes a customer's money for an order, keeps it, and gives it back or pays it to the shop."""

from typing import Literal, assert_never

from msgspec.structs import replace

from actors import Command, Decision, Message, Refused, Service, State
from demos.orders.messages import AccountOpened, MoneyGivenBack, MoneyPaidOut, MoneyTaken, PaymentsDown, PaymentsUp


class Payment(Message):
    order: str
    euros: int
    status: Literal["kept", "given back", "paid out"] = "kept"


class Account(State):
    euros: int = 0
    payments: dict[str, Payment] = {}
    """By the number of the receipt."""
    up: bool = True
    """Whether anybody answers."""

    def kept_for(self, order: str) -> str | None:
        """Return the receipt of the money that is kept for an order."""
        kept = (receipt for receipt, one in self.payments.items() if one.order == order and one.status == "kept")
        return next(kept, None)


class Receipt(Message):
    number: str


class OpenAccount(Command["Payments", None]):
    euros: int


class Pay(Command["Payments", Receipt]):
    """Take the customer's money, and keep it for the order."""

    order: str
    euros: int


class TakeBack(Command["Payments", None]):
    """Undoes :class:`Pay` where nobody knows the receipt: gives back what is kept for an order, if anything is."""

    order: str


class Refund(Command["Payments", None]):
    """Undoes :class:`Pay`: gives back what was paid with this receipt."""

    receipt: str


class Capture(Command["Payments", None]):
    """Pay out to the shop what was paid with this receipt. Then nothing can be given back any more."""

    receipt: str


class GoDown(Command["Payments", None]): ...


class ComeBack(Command["Payments", None]): ...


class PaymentsUnreachable(Exception):
    """Nobody answers. No "no", so not ``Refused``: Understudy takes it for a failure, and a saga tries again."""


PaymentCommand = OpenAccount | Pay | TakeBack | Refund | Capture | GoDown | ComeBack
PaymentEvent = AccountOpened | MoneyTaken | MoneyGivenBack | MoneyPaidOut | PaymentsDown | PaymentsUp


class Payments(Service[Account, PaymentCommand, PaymentEvent]):
    """A customer's account at the payment service: ``Payments.at("ana")``."""

    initial = Account()

    def decide(self, state: Account, command: PaymentCommand) -> Decision:
        """Take no more than there is, and let each payment end once."""
        match command:
            case OpenAccount(euros):
                return command.reply(None, AccountOpened(euros))
            case GoDown():
                return command.reply(None, *([PaymentsDown()] if state.up else []))
            case ComeBack():
                return command.reply(None, *([] if state.up else [PaymentsUp()]))
            case _ if not state.up:
                raise PaymentsUnreachable("nobody answers at the payment service")
            case Pay(_, euros) if euros > state.euros:
                raise Refused(f"{self.key} can't pay {euros} euros")
            case Pay(order, euros):
                receipt = f"R{len(state.payments) + 1}-{self.key}"
                return command.reply(Receipt(receipt), MoneyTaken(order, receipt, euros))
            case TakeBack(order):
                found = state.kept_for(order)
                return command.reply(None, *([] if found is None else [self._back(state, found)]))
            case Refund(receipt):
                return command.reply(None, self._back(state, receipt))
            case Capture(receipt):
                kept = self._kept(state, receipt)
                return command.reply(None, MoneyPaidOut(kept.order, receipt, kept.euros))
            case _:
                assert_never(command)

    def _back(self, state: Account, receipt: str) -> MoneyGivenBack:
        kept = self._kept(state, receipt)
        return MoneyGivenBack(kept.order, receipt, kept.euros)

    def _kept(self, state: Account, receipt: str) -> Payment:
        payment = state.payments.get(receipt)
        if payment is None or payment.status != "kept":
            raise Refused(f"receipt {receipt} stands for nothing that is kept")
        return payment

    def evolve(self, state: Account, event: PaymentEvent) -> Account:
        """Return the next state; the one that was given stays as it is."""
        match event:
            case AccountOpened(euros):
                return replace(state, euros=state.euros + euros)
            case MoneyTaken(order, receipt, euros):
                payments = {**state.payments, receipt: Payment(order, euros)}
                return replace(state, euros=state.euros - euros, payments=payments)
            case MoneyGivenBack(order, receipt, euros):
                payments = {**state.payments, receipt: Payment(order, euros, "given back")}
                return replace(state, euros=state.euros + euros, payments=payments)
            case MoneyPaidOut(order, receipt, euros):
                return replace(state, payments={**state.payments, receipt: Payment(order, euros, "paid out")})
            case PaymentsDown():
                return replace(state, up=False)
            case PaymentsUp():
                return replace(state, up=True)
            case _:
                assert_never(event)
