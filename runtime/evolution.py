"""Reads what was stored in an older form: under another name, in another revision, or by a class that is gone."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, cast

import msgspec

from actors import Event, Upcast
from actors.errors import in_words
from actors.evolution import Step, names_by_alias, steps_of
from actors.messages import revision_of
from persistence import NotDecodable, NotEncodable
from persistence.codec import WRAPPING, Decoder, encode

MOST_EVENTS = 1_000
"""How many events one that is stored may become."""

_fields = Decoder(dict[str, Any], WRAPPING)
_raw_fields = Decoder(dict[str, msgspec.Raw], WRAPPING)


class Several(tuple[Any, ...]):
    """The events that upcasts make of one that is stored: several, or none."""

    __slots__ = ()


class Evolution:
    """All forms in which the events of one class of actors may be stored.

    Raises:
        DefinitionError: its aliases, revisions and upcasts don't lead to its classes.
    """

    def __init__(self, owner: Any, decoders: Mapping[str, Decoder]) -> None:
        self.decoders = decoders
        """What reads today's form, by today's name."""
        self.steps: Mapping[Step, Upcast] = steps_of(owner)
        events: Mapping[str, type[Event]] = getattr(owner, "events", {})
        self.revisions = {name: revision_of(event) for name, event in events.items()}
        today = {name: name for name in events}
        retired = {name: name for name, _ in self.steps if name not in events}
        self.names = {**today, **names_by_alias(owner, events), **retired}
        """Today's names, by all the names that may be stored."""
        changing = {name for name, _ in self.steps}
        self.leads_to: dict[str, type[Event] | None] = {
            stored: None if name in changing else events[name] for stored, name in self.names.items()
        }
        """By the names that may be stored: the class that takes it, or None where only its upcasts know."""

    def form(self, stored: str, revision: int) -> "Form | None":
        """Return what reads events with this name and revision; None: nothing does."""
        name = self.names.get(stored)
        if name is None or (self.revisions.get(name) != revision and (name, revision) not in self.steps):
            return None
        return Form(self, stored, name, revision)


class Form:
    """One form in which events are stored. It reads them as a decoder would, but one may become several, or none."""

    __slots__ = ("_evolution", "_name", "_revision", "_stored")

    def __init__(self, evolution: Evolution, stored: str, name: str, revision: int) -> None:
        self._evolution = evolution
        self._stored = stored
        self._name = name
        self._revision = revision

    def decode(self, data: bytes) -> Several:
        """Return today's events.

        Raises:
            NotDecodable: they don't fit today's classes, or an upcast failed.
        """
        if (self._name, self._revision) in self._evolution.steps:
            fields: dict[str, Any] = _fields.decode(data)
            fields.pop("type", None)
            return self._upcast(fields)
        if self._stored != self._name:
            data = renamed(data, self._name)
        return Several([self._evolution.decoders[self._name].decode(data)])

    def _upcast(self, fields: dict[str, Any]) -> Several:
        evolution = self._evolution
        events: list[Any] = []
        todo = [(self._name, self._revision, fields)]
        while todo:
            stored, revision, fields = todo.pop()
            name = evolution.names[stored]
            step = evolution.steps.get((name, revision))
            if step is None:
                events.append(self._event(name, fields))
                continue
            todo += reversed(list(islice(_changed(step, fields), MOST_EVENTS + 1)))
            if len(todo) + len(events) > MOST_EVENTS:
                raise NotDecodable(f"its upcasts make more than {MOST_EVENTS:,} events of it")
        return Several(events)

    def _event(self, name: str, fields: dict[str, Any]) -> Any:
        try:
            data = encode({**fields, "type": name}, f"what the upcasts made of it, {name},")
        except NotEncodable as error:
            raise NotDecodable(str(error)) from error
        return self._evolution.decoders[name].decode(data)


def renamed(data: bytes | msgspec.Raw, name: str) -> bytes:
    """Return a stored message under another name; its fields as they are.

    Raises:
        NotDecodable: it is no message.
    """
    fields: dict[str, msgspec.Raw] = _raw_fields.decode(data)
    fields["type"] = msgspec.Raw(encode(name))
    return encode(fields)


def _changed(step: Upcast, fields: dict[str, Any]) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Yield what an upcast makes of stored fields.

    Raises:
        NotDecodable: it raised, or returned what it must not.
    """
    try:
        found = step.change(fields)
        if step.into is None:
            yield step.type, step.revision + 1, _mapping(step, found)
            return
        for name, more in found:
            if name not in step.into:
                raise NotDecodable(f"the {step} leads to {name}, which its into= doesn't name")
            yield name, step.into[name], _mapping(step, more)
    except NotDecodable:
        raise
    except Exception as error:
        raise NotDecodable(f"the {step} failed: {type(error).__name__}: {error}") from error


def _mapping(step: Upcast, found: Any) -> dict[str, Any]:
    if not isinstance(found, Mapping):
        raise NotDecodable(f"the {step} must give the fields as a mapping, not {in_words(found)}")
    return dict(cast(Mapping[str, Any], found))
