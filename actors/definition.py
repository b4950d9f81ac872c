"""Checks at definition time: a class that can't work fails where it is written, and says what to write."""

import inspect
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, TypeVar, get_args

import msgspec

from actors.errors import DefinitionError
from actors.locks import ServiceLocked, ServiceUnlocked, WhenLocked
from actors.messages import Command, Event, Message, Query, Request, State, look_up, name_of, reply_type
from actors.policies import Group, Mailbox, Passivation, Pool, Rate, RestartPolicy, RetryPolicy

HOW_TO_WRITE: dict[type[Message], str] = {
    Event: "class Name(Event)",
    Command: 'class Name(Command["Actor", Reply])',
    Request: 'class Name(Command["Actor", Reply])',
    Query: 'class Name(Query["Actor", Reply])',
}

SETTINGS: dict[str, tuple[type, str, bool]] = {
    "deadline": (timedelta, "timedelta(minutes=5)", True),
    "timeout": (timedelta, "timedelta(seconds=30)", True),
    "time_limit": (timedelta, "timedelta(seconds=30)", True),
    "rate": (Rate, "Rate(100, per=timedelta(seconds=1))", True),
    "pool": (Pool, "Pool(size=4)", True),
    "retry": (RetryPolicy, "RetryPolicy(budget=timedelta(minutes=10))", False),
    "undo_retry": (RetryPolicy, "RetryPolicy(budget=timedelta(hours=24))", False),
    "restart": (RestartPolicy, "RestartPolicy(restarts=5)", False),
    "mailbox": (Mailbox, "Mailbox(limit=10_000)", False),
    "passivation": (Passivation, "Passivation(idle=timedelta(minutes=10))", False),
    "children": (Group, 'Group(strategy="one_for_all")', False),
}
"""What a class of actors may set: what it is, an example, and whether it may be None."""


def by_name(owner: type, annotation: Any, base: type[Message]) -> dict[str, Any]:
    """Return the classes of ``A | B`` by their stable names, having checked that each is a ``base``.

    Raises:
        DefinitionError: one is no such class, or two have the same name.
    """
    word = base.__name__.lower()
    found: dict[str, Any] = {}
    for member in get_args(annotation) or (annotation,):
        if isinstance(member, TypeVar):
            continue
        if not (isinstance(member, type) and issubclass(member, base)):
            raise DefinitionError(
                f"{owner.__name__} lists {member!r} as {word}, but it is none; write {HOW_TO_WRITE[base]}: ..."
            )
        name = name_of(member)
        if name in found:
            raise DefinitionError(
                f"{owner.__name__} has two {word}s named {name!r}, {found[name].__module__}."
                f"{found[name].__qualname__} and {member.__module__}.{member.__qualname__}; give one a tag "
                f'of its own: class {member.__name__}({base.__name__}, tag="...")'
            )
        found[name] = member
    return found


def annotated(owner: type, method: str, how_to_write: str, number: int = 1) -> Any:
    """Return the annotation of a method's first parameter, or of another, which says what messages the class is for.

    Raises:
        DefinitionError: there is none, or it names what can't be found.
    """
    parameters = list(inspect.signature(owner.__dict__[method]).parameters.values())
    try:
        annotation = parameters[number].annotation
        if annotation is inspect.Parameter.empty:
            raise NameError("there is no annotation")
        return look_up(annotation, owner.__module__)
    except (IndexError, NameError, AttributeError) as error:
        raise DefinitionError(
            f"{owner.__name__}.{method} must say which messages it is for ({error}); "
            f"write def {method}(self, {how_to_write})"
        ) from error


def check_at_once(
    owner: type, method: str, instead: str = "leave I/O to a plain actor", *, may_yield: bool = False
) -> None:
    """Check that a method, where the class has it, returns its result at once: it is not async, and has one.

    Raises:
        DefinitionError: it is; says what to write, and by ``instead`` where to do what needs waiting.
    """
    code = owner.__dict__.get(method)
    if inspect.iscoroutinefunction(code) or (may_yield and inspect.isasyncgenfunction(code)):
        raise DefinitionError(
            f"{owner.__name__}.{method} is async, but it works at once, from what it is given; write def {method}, and "
            f"{instead}"
        )
    if not may_yield and (inspect.isgeneratorfunction(code) or inspect.isasyncgenfunction(code)):
        raise DefinitionError(f"{owner.__name__}.{method} yields; it has one result, so write return")


def check_async(owner: type, method: str, parameters: str) -> None:
    """Check that a method, where the class has it, is ``async def`` and doesn't yield."""
    code = owner.__dict__.get(method)
    if code is not None and not inspect.iscoroutinefunction(code):
        raise DefinitionError(
            f"{owner.__name__}.{method} must be async, and not yield; write async def {method}(self, {parameters})"
        )


def check_init(owner: type) -> None:
    """Check that a class of actors with an ``__init__`` of its own can be made as the runtime does: with a key."""
    if "__init__" in owner.__dict__:
        try:
            inspect.signature(owner.__dict__["__init__"]).bind(owner, "key")
        except TypeError as error:
            raise DefinitionError(
                f"{owner.__name__}.__init__ can't take what the runtime makes actors with, their key ({error}); write "
                "def __init__(self, key: str) with super().__init__(key) in it"
            ) from error


def queries_of(owner: Any, how_to_write: str, number: int = 1) -> dict[str, Any]:
    """Return the queries that a class answers, by stable name, having checked that its ``answer`` can.

    Raises:
        DefinitionError: it doesn't say which, is async, or yields; or a query has the name of a command.
    """
    check_at_once(owner, "answer")
    queries = by_name(owner, annotated(owner, "answer", how_to_write, number), Query)
    for name in queries.keys() & owner.commands.keys():
        raise DefinitionError(
            f"{owner.__name__} takes a command {name!r} and answers a query of the same name; give one a tag of its "
            f'own: class {queries[name].__name__}(Query[...], tag="...")'
        )
    return queries


def check_takes_commands(owner: type, commands: Mapping[str, Any], how_to_write: str) -> None:
    """Check that a service or saga says which commands it takes; a base that leaves them open need not."""
    if not commands and not getattr(owner, "__parameters__", ()):
        raise DefinitionError(f"{owner.__name__} doesn't say what it takes; write {how_to_write}: ...")


def check_state(owner: type, state: Any) -> None:
    """Check that a service's state is a frozen :class:`State` and that the first one is given."""
    if isinstance(state, TypeVar):
        return
    if not (isinstance(state, type) and issubclass(state, State) and state.__struct_config__.frozen):
        raise DefinitionError(
            f"the state of {owner.__name__} must be a frozen State, not {state!r}; write class Name(State): ..."
        )
    if not isinstance(getattr(owner, "initial", msgspec.UNSET), state):
        raise DefinitionError(
            f"{owner.__name__} needs its first state: write initial = {state.__name__}(...) in the class"
        )


def check_snapshots(owner: Any) -> None:
    """Check when a service is to be kept in a snapshot."""
    every = owner.snapshot_every
    if every is not None and (type(every) is not int or every < 1):
        raise DefinitionError(f"{owner.__name__} needs snapshot_every of 1 or more events, or None, not {every!r}")


def check_locks(owner: Any) -> None:
    """Check what a service does with commands whose lock is held."""
    if owner.when_locked not in get_args(WhenLocked):
        raise DefinitionError(
            f'{owner.__name__} needs when_locked of "refuse", "queue" or "tell", not {owner.when_locked!r}'
        )
    for event in (ServiceLocked, ServiceUnlocked):
        if event in owner.events.values():
            raise DefinitionError(
                f"{owner.__name__} lists {event.__name__} among its events, but the runtime writes it; let a read "
                "model follow it"
            )


def check_actor(owner: Any) -> None:
    """Check that a plain actor that isn't async has nothing that only an async one can have."""
    if inspect.isgeneratorfunction(owner.receive) or inspect.isasyncgenfunction(owner.receive):
        raise DefinitionError(f"{owner.__name__}.receive yields; it has one reply, so write return")
    if owner.is_async:
        if owner.at_once < 1:
            raise DefinitionError(f"{owner.__name__} needs at_once of 1 or more, not {owner.at_once}")
        return
    for hook in ("started", "stopped"):
        if inspect.iscoroutinefunction(getattr(owner, hook)):
            raise DefinitionError(
                f"{owner.__name__}.{hook} is async, but receive is not; write async def receive, or def {hook}"
            )
    if owner.at_once != 1:
        raise DefinitionError(f"{owner.__name__} can handle several messages at once only with async def receive")


def check_settings(owner: Any) -> None:
    """Check that what a class of actors sets, its time limits and policies, is of the right class.

    Else it would be found out in the middle of the first turn that needs it.
    """
    for name, (cls, example, may_be_none) in SETTINGS.items():
        value = owner.__dict__.get(name)
        if name in owner.__dict__ and not isinstance(value, cls) and not (value is None and may_be_none):
            instead = ", or None" if may_be_none else ""
            raise DefinitionError(f"{owner.__name__} has {name} = {value!r:.80}; write {name} = {example}{instead}")


def check_choices(owner: Any) -> None:
    """Check that what chooses among events is a list of texts, and not one text."""
    for name in ("categories", "tags"):
        if isinstance(getattr(owner, name), str):
            raise DefinitionError(f'{owner.__name__}.{name} is one text; write {name} = ("{getattr(owner, name)}",)')


def check_places(owner: Any) -> None:
    """Check how many sagas of a class may be under way at once."""
    at_once = owner.at_once
    if at_once is not None and (type(at_once) is not int or at_once < 1):
        raise DefinitionError(
            f"{owner.__name__} has at_once = {at_once!r}; write how many of them may be under way at once, "
            "at_once = 10, or None for as many as there are"
        )


def check_messages(owner: Any, messages: Mapping[str, Any]) -> None:
    """Check the messages that a saga receives: none starts it as well, and none waits for more than its arrival."""
    for name, message in messages.items():
        if name in owner.commands:
            raise DefinitionError(
                f"{owner.__name__} is started by {name}, so it can't receive it; make a class for each"
            )
        if reply_type(message) is not type(None):
            raise DefinitionError(
                f"{owner.__name__} receives {message.__name__}, which is answered when it has arrived, by nothing; "
                f'write class {message.__name__}(Command["{owner.__name__}", None])'
            )


def check_versions(owner: Any) -> None:
    """Check the versions of a saga and of the classes that bring older ones to their end."""
    versions = [owner.version, *(older.version for older in owner.older)]
    if any(type(version) is not int or version < 1 for version in versions) or len(set(versions)) < len(versions):
        raise DefinitionError(
            f"{owner.__name__} has the versions {versions}, with those of older=; give each class another whole number "
            "of 1 or more: version = 2"
        )
    for older in owner.older:
        if older.version > owner.version:
            raise DefinitionError(
                f"{older.__name__} has version {older.version}, so it isn't older than {owner.__name__}, version "
                f"{owner.version}"
            )
        if set(older.commands) - set(owner.commands):
            raise DefinitionError(
                f"{older.__name__} takes {sorted(set(older.commands) - set(owner.commands))}, which {owner.__name__} "
                "doesn't; a saga and its older versions take the same commands"
            )
