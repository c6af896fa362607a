"""Bodies that hold items: each is read for itself, so that one that is wrong rejects no other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from serving.http import problems
from serving.store.items import Result

Item = TypeVar("Item")
Body = TypeVar("Body", bound=BaseModel)
MOST_FAULTS = 5
"""Of one item that its result names."""


@dataclass(frozen=True)
class Items(Generic[Item]):
    """The items of a body, in its order.

    Attributes
    ----------
    name : str
        Of their list, in pointers; empty where the body is the item itself.
    ids : list of str or None
        By which results name them.
    read : list of items, or of Result for those that were rejected
    fields : mapping of str to str
        What the sender calls a field that a result speaks of, where it has another name.
    """

    name: str
    ids: list[str | None]
    read: list[Item | Result]
    fields: Mapping[str, str]

    @property
    def taken(self) -> list[Item]:
        """Those that were not rejected."""
        return [item for item in self.read if not isinstance(item, Result)]

    def results(self, taken: Sequence[Result]) -> list[Result]:
        """Return what became of each, by the results of those that were not rejected."""
        coming = iter(taken)
        return [each if isinstance(each, Result) else next(coming) for each in self.read]

    def answer(self, results: Sequence[Result]) -> bytes:
        """Return JSON as `item_schemas.ItemsAnswer`, by the results of all."""
        shown = [self._shown(at, result) for at, result in enumerate(results)]
        return to_json({"results": shown})

    def _shown(self, at: int, result: Result) -> dict[str, Any]:
        shown: dict[str, Any] = {"id": self.ids[at], "status": result.status}
        if result.detail is not None:
            shown["detail"] = self._placed(at, result)
        if result.code is not None:
            shown["code"] = result.code
        return shown

    def _placed(self, at: int, result: Result) -> str:
        if result.field is None:
            return str(result.detail)
        path: list[str | int] = [self.name, at] if self.name else []
        field = self.fields.get(result.field, result.field)
        return f"{problems.pointer([*path, field] if field else path)} {result.detail}"


def envelope(body: bytes, model: type[Body]) -> Body:
    """Read a body whose items are looked at later.

    Raises
    ------
    Problem
        400 when it is no JSON, 422 when it is no list of 1 to 1,000 items.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise problems.invalid(error) from None


def read(name: str, raw: Sequence[Any], model: type[Body], id_field: str) -> Items[Body]:
    """Read items by their schema."""
    return Items(
        name,
        [id_of(item, id_field) for item in raw],
        [read_one(item, model, [name, at]) for at, item in enumerate(raw)],
        {},
    )


def read_one(item: object, model: type[Body], path: Sequence[str | int]) -> Body | Result:
    """Read an item, or return why it is rejected, by where it stands."""
    try:
        return model.model_validate(item)
    except ValidationError as error:
        faults = problems.faults(error, path)
    said = "; ".join(f"{fault.pointer} {fault.detail}" for fault in faults[:MOST_FAULTS])
    more = f"; and {len(faults) - MOST_FAULTS} more" if len(faults) > MOST_FAULTS else ""
    return Result("rejected", faults[0].code, None, said + more)


def id_of(item: object, *fields: str) -> str | None:
    """Return the id of an item, be the rest of it as it may; None where it has none.

    >>> id_of({"event_id": "E-1"}, "event_id"), id_of({"event_id": 7}, "event_id"), id_of([], "x")
    ('E-1', None, None)
    """
    if isinstance(item, dict):
        for field in fields:
            found = item.get(field)
            if isinstance(found, str):
                return found
    return None
