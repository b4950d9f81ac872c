"""Made-up values of a type, for a run of a saga's code in which nothing happens."""

import enum
from collections.abc import Iterable
from typing import Any, get_args

import msgspec
from msgspec import inspect

from actors import DefinitionError, Personal

DEEP = 20
"""How deep a made-up value may be; a type that contains itself ends there."""

_SCALARS: dict[type[inspect.Type], Any] = {
    inspect.AnyType: None,
    inspect.NoneType: None,
    inspect.BoolType: True,
    inspect.IntType: 1,
    inspect.FloatType: 1.0,
    inspect.BytesType: "",
    inspect.ByteArrayType: "",
    inspect.DateTimeType: "2026-01-01T00:00:00Z",
    inspect.TimeType: "00:00:00Z",
    inspect.DateType: "2026-01-01",
    inspect.TimeDeltaType: "PT1S",
    inspect.UUIDType: "00000000-0000-4000-8000-000000000000",
    inspect.DecimalType: "1",
    inspect.DictType: {},
}


def sample(annotation: Any) -> Any:
    """Return a made-up value of a type: as little as will do, texts named after their fields.

    Raises:
        DefinitionError: none can be made up, as for a type of the author's own or a number with a bound.
    """
    try:
        return msgspec.convert(_made_up(inspect.type_info(annotation), "text", 0), annotation, strict=False)
    except (TypeError, ValueError, RecursionError) as error:
        name = getattr(annotation, "__name__", annotation)
        raise DefinitionError(f"no {name} can be made up ({error}); give one") from error


def _made_up(kind: inspect.Type, name: str, depth: int) -> Any:
    """Return a value as JSON would hold it, or, of a type that msgspec doesn't know, as it is."""
    if depth > DEEP:
        raise TypeError("it contains itself")
    if type(kind) in _SCALARS:
        return _SCALARS[type(kind)]
    deeper = depth + 1
    match kind:
        case inspect.StrType():
            return name
        case inspect.EnumType(cls=cls):
            return next(iter(_members(cls))).value
        case inspect.LiteralType(values=values):
            return values[0]
        case inspect.UnionType(types=types):
            some = [one for one in types if not isinstance(one, inspect.NoneType)]
            return _made_up(some[0], name, deeper)
        case inspect.TupleType(item_types=types):
            return [_made_up(one, name, deeper) for one in types]
        case inspect.CollectionType():
            return [] if depth > 2 else [_made_up(kind.item_type, name, deeper)]
        case inspect.NamedTupleType() | inspect.StructType(array_like=True, tag_field=None):
            return list(_fields(kind.fields, deeper).values())
        case inspect.StructType(tag_field=str()):
            return {**_fields(kind.fields, deeper), kind.tag_field: kind.tag}
        case inspect.StructType() | inspect.TypedDictType() | inspect.DataclassType():
            return _fields(kind.fields, deeper)
        case inspect.CustomType(cls=cls):
            return _personal(cls, name, deeper)
        case _:
            raise TypeError(f"{type(kind).__name__} is not known")


def _fields(fields: Iterable[inspect.Field], depth: int) -> dict[str, Any]:
    return {field.encode_name: _made_up(field.type, field.name, depth) for field in fields if field.required}


def _members(cls: Any) -> type[enum.Enum]:
    members: type[enum.Enum] = cls
    return members


def _personal(cls: Any, name: str, depth: int) -> Any:
    if cls is not Personal and getattr(cls, "__origin__", None) is not Personal:
        raise TypeError(f"{cls.__name__} is a type of its own")
    held = get_args(cls)
    return Personal("somebody", _made_up(inspect.type_info(held[0]), name, depth) if held else name)
