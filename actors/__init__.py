"""What a user of Understudy writes: messages, services, sagas, read models and plain actors. All of it is pure."""

from actors.actor import Actor
from actors.address import Address
from actors.errors import (
    CommandIdReused,
    DefinitionError,
    Failed,
    JournalMismatch,
    MailboxFull,
    NotTaken,
    OutcomeUnknown,
    Parked,
    ReadModelBehind,
    Refused,
    RuntimeClosed,
    SagaGaveUp,
    SagaMismatch,
    SagaMisuse,
    UnderstudyError,
    UnknownActor,
)
from actors.messages import Command, Decision, Event, Message, Meta, Query, Request, State
from actors.policies import UNDO_RETRY, Backoff, RestartPolicy, RetryPolicy
from actors.read_model import ReadModel, Statement, sql
from actors.saga import Parallel, Saga, Step
from actors.service import Service

__all__ = [
    "UNDO_RETRY",
    "Actor",
    "Address",
    "Backoff",
    "Command",
    "CommandIdReused",
    "Decision",
    "DefinitionError",
    "Event",
    "Failed",
    "JournalMismatch",
    "MailboxFull",
    "Message",
    "Meta",
    "NotTaken",
    "OutcomeUnknown",
    "Parallel",
    "Parked",
    "Query",
    "ReadModel",
    "ReadModelBehind",
    "Refused",
    "Request",
    "RestartPolicy",
    "RetryPolicy",
    "RuntimeClosed",
    "Saga",
    "SagaGaveUp",
    "SagaMismatch",
    "SagaMisuse",
    "Service",
    "State",
    "Statement",
    "Step",
    "UnderstudyError",
    "UnknownActor",
    "sql",
]
