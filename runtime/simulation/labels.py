"""What messages and their senders are called in a report."""

from runtime.mailbox import Envelope
from runtime.promises import Promise
from runtime.saga_mail import StepOutcome, StepReturn, Wake

CLIENT = "client"


def what_of(envelope: Envelope) -> str:
    """Return what a message is called: the name of its class, or what it tells a saga."""
    message = envelope.message
    match message:
        case StepOutcome(step, undo, _, error):
            step = f"the undo of {step!r}" if undo else f"step {step!r}"
            return f"outcome of {step}{f': {type(error).__name__}' if error is not None else ''}"
        case Wake(step):
            return f"time of {step!r} has come" if step else "the deadline has come"
        case _:
            return f"{type(message).__name__}{' (undo)' if envelope.undoes is not None else ''}"


def sender_of(envelope: Envelope) -> str:
    """Return who has sent a message, as far as that can be told."""
    reply = envelope.reply
    if isinstance(reply, StepReturn):
        return str(reply.saga)
    if envelope.path:
        return str(envelope.path[-1])
    if envelope.sender is not None:
        return str(envelope.sender)
    return CLIENT if isinstance(reply, Promise) else ""
