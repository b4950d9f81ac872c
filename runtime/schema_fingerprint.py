"""Fingerprints of types: whether what was stored of a type would mean the same to today's class."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, get_args, get_origin

import msgspec
from msgspec import inspect

from actors import Event
from actors.evolution import steps_of
from actors.messages import aliases_of, revision_of
from actors.personal import Personal

_json = msgspec.json.Encoder(order="deterministic", enc_hook=lambda value: type(value).__qualname__)

_Fielded = inspect.StructType | inspect.TypedDictType | inspect.NamedTupleType | inspect.DataclassType


def schema_fingerprint(state_type: Any) -> str:
    """Return a short hash of a type's form: its fields' names, types and defaults, and those of all types within.

    It is the same in every process. Docstrings, the modules that classes stand in, methods and the order of ``A | B``
    don't change it; renaming a class, a field or a member of an enum, another type, default or tag, and one field
    more or fewer do. What a method does with the fields, it can't know.

    Raises:
        TypeError: msgspec can't store the type.
        NameError: an annotation in quotes names what can't be found.
    """
    description = _Description()
    root = description.of(inspect.type_info(state_type))
    return _hash([root, *description.definitions])


def fold_fingerprint(service: Any) -> str:
    """Return a short hash of what a service declares of how its state comes about: a snapshot with another is stale.

    ``service`` is a class of services. It covers the form of the state, the first state, and of each event the form,
    the names, the revision and the upcasts. What the code of ``evolve`` and of upcasts does, it can't know.

    Raises:
        TypeError: msgspec can't store the state.
    """
    initial = service.initial
    lines = [schema_fingerprint(type(initial)), _text(initial)]
    events: Mapping[str, type[Event]] = service.events
    for name, event in sorted(events.items()):
        lines.append(f"{name} {sorted(aliases_of(event))} {revision_of(event)} {schema_fingerprint(event)}")
    steps = steps_of(service).items()
    lines += sorted(f"{name} {revision} {_text(one.into)}" for (name, revision), one in steps)
    return _hash(lines)


def _hash(lines: list[str]) -> str:
    return hashlib.blake2b("\n".join(lines).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


class _Description:
    """A type as text. Classes are named where they are used and described once, so that they may use themselves."""

    def __init__(self) -> None:
        self.definitions: list[str] = []
        self._names: dict[Any, str] = {}
        self._taken: dict[str, int] = {}

    def of(self, info: inspect.Type) -> str:
        """Return the description of a type; classes met for the first time are added to the definitions."""
        match info:
            case inspect.Metadata():
                return self.of(info.type)  # titles and examples: for readers only
            case inspect.UnionType():
                return f"({'|'.join(sorted(self.of(member) for member in sorted(info.types, key=_rank)))})"
            case inspect.EnumType():
                members = sorted((name, _text(member.value)) for name, member in info.cls.__members__.items())
                return f"enum{members}"
            case inspect.LiteralType():
                return f"literal{sorted(_text(value) for value in info.values)}"
            case inspect.CustomType():
                return f"class {info.cls.__name__}"
            case inspect.StructType() | inspect.TypedDictType() | inspect.NamedTupleType() | inspect.DataclassType():
                return self._named(info)
            case _:
                return self._plain(info)

    def _plain(self, info: inspect.Type) -> str:
        """Describe what is no class of the author's: its parts, and its limits."""
        parts: list[str] = []
        for name in info.__struct_fields__:
            value = getattr(info, name)
            if isinstance(value, inspect.Type):
                value = self.of(value)
            elif isinstance(info, inspect.TupleType):
                value = [self.of(part) for part in info.item_types]
            if value is not None:
                parts.append(f"{name}={value}")
        return f"{type(info).__name__}({', '.join(parts)})"

    def _named(self, info: _Fielded) -> str:
        if info.cls in self._names:
            return self._names[info.cls]
        word = info.cls.__name__
        count = self._taken[word] = self._taken.get(word, 0) + 1
        name = self._names[info.cls] = word if count == 1 else f"{word}#{count}"
        in_order = isinstance(info, inspect.NamedTupleType) or getattr(info, "array_like", False)
        written = (
            {one.name: one.type for one in msgspec.structs.fields(info.cls)}
            if issubclass(info.cls, msgspec.Struct)
            else {}
        )
        fields = [self._field(field) + self._personal(written.get(field.name)) for field in info.fields]
        how = [_text(getattr(info, option, None)) for option in ("tag_field", "tag", "array_like")]
        self.definitions.append(f"{name} {how} {fields if in_order else sorted(fields)}")
        return name

    def _personal(self, annotation: Any) -> str:
        """Describe the types of personal values in an annotation, for msgspec's description leaves them out."""
        arguments = get_args(annotation)
        if get_origin(annotation) is Personal:
            return f" personal {self.of(inspect.type_info(arguments[0]))}"
        return "".join(map(self._personal, arguments))

    def _field(self, field: inspect.Field) -> str:
        default = ""
        if field.default is not msgspec.NODEFAULT:
            default = f" = {_text(field.default)}"
        elif field.default_factory is not msgspec.NODEFAULT:
            default = f" = {_name_of(field.default_factory)}()"
        return (
            f"{field.name}/{field.encode_name}: {self.of(field.type)}{'' if field.required else ' optional'}{default}"
        )


def _rank(info: inspect.Type) -> str:
    """Return what to sort the members of a union by: ``A | B`` may come as ``B | A`` in another process."""
    cls = getattr(info, "cls", None)
    return f"{type(info).__name__} {getattr(cls, '__qualname__', cls)}"


def _text(value: object) -> str:
    try:
        return _json.encode(value).decode()
    except (TypeError, ValueError, msgspec.MsgspecError):
        return type(value).__qualname__


def _name_of(factory: Callable[[], Any]) -> str:
    return str(getattr(factory, "__name__", type(factory).__name__))
