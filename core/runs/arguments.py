"""The one form of a value that a function is called with, for the call's key.

Two values have the same form only where they are of the same class and hold the same; the order of a table's rows does
not count, and neither does which parts are the same object. What has no such form is named, and a call with it has no
key of its own.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import inspect
import sys
from datetime import date, time, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pydantic import BaseModel

from sluiceway.core.provenance.key import canonical_json
from sluiceway.core.runs.own_code import source_of

if TYPE_CHECKING:
    from types import FunctionType

# What they show is all that there is in them.
_SHOWN_WHOLE = (complex, Decimal, Fraction, UUID, PurePath, range, date, time, timedelta)


class NoForm(Exception):
    """A value has no canonical form; the text says which."""


class Forms:
    """Writes values in their one form, and remembers the modules whose code is in them."""

    def __init__(self) -> None:
        """Begin with no module."""
        self.modules: set[str] = set()

    def digest(self, value: object) -> str:
        """Give the digest of a value's form, or raise NoForm."""
        try:
            form = canonical_json(self._form(value))
        except RecursionError as error:
            raise NoForm(f"a {_name(type(value))} that holds itself, or is nested too deeply") from error
        return f"sha256:{hashlib.sha256(form.encode()).hexdigest()}"

    def _form(self, value: Any) -> Any:  # noqa: PLR0911 - one for each kind
        """Give a value as JSON; but for none, true, false and whole numbers, a list that begins with its kind."""
        kind = type(value)
        if value is None or kind in {bool, int}:
            return value
        if kind is str:
            return ["str", value if value.isascii() else value.encode("utf-8", "surrogatepass").hex(), value.isascii()]
        if kind is float:
            return ["float", value.hex()]
        if kind in {bytes, bytearray}:
            return [kind.__name__, hashlib.sha256(value).hexdigest()]
        if kind in {list, tuple}:
            return [kind.__name__, *map(self._form, value)]
        if kind in {set, frozenset}:
            return [kind.__name__, *sorted(map(self._form, value), key=canonical_json)]
        if kind is dict:
            rows = ([self._form(name), self._form(each)] for name, each in value.items())
            return ["dict", *sorted(rows, key=canonical_json)]
        return self._made(value)

    def _made(self, value: Any) -> list[Any]:  # noqa: PLR0911 - one for each kind
        """Give the form of what is made by a class or a definition."""
        if inspect.isfunction(value):
            return self._function(value)
        if isinstance(value, type):
            return ["class", self._class(value)]
        name = self._class(type(value))
        if isinstance(value, enum.Enum):
            return ["enum", name, self._form(value.value)]
        if isinstance(value, _SHOWN_WHOLE):
            return ["shown", name, self._form(repr(value)), getattr(value, "fold", 0)]
        if dataclasses.is_dataclass(value):
            return ["fields", name, *(self._form(getattr(value, each.name)) for each in dataclasses.fields(value))]
        if isinstance(value, BaseModel):
            return ["fields", name, self._form(vars(value)), self._form(value.model_extra)]
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return ["fields", name, *map(self._form, value)]
        if type(value).__module__ == "numpy" and hasattr(value, "tobytes") and not value.dtype.hasobject:
            return ["array", name, str(value.dtype.descr), value.shape, self._form(value.tobytes())]
        raise NoForm(f"a {name}")

    def _function(self, function: FunctionType) -> list[Any]:
        """Give the form of a function: where in its module's text it stands, and what it took from around it."""
        module, code = str(function.__globals__.get("__name__")), function.__code__
        self._count(module, what=_name(function))
        file = source_of(module)
        if file is not None and Path(code.co_filename).resolve() != file:
            raise NoForm(f"the function {_name(function)}, whose text is in no file")
        around = [each.cell_contents for each in function.__closure__ or ()]
        # Defaults of a function that stands in a module by itself are what the module's text says.
        defaults = (function.__defaults__, function.__kwdefaults__) if "<" in code.co_qualname else ()
        place = hashlib.sha256(repr((code.co_qualname, [*code.co_positions()], code.co_code)).encode()).hexdigest()
        return ["function", module, place, self._form(around), self._form(defaults)]

    def _class(self, kind: type) -> str:
        """Give the name of a class that others can find by it; its module counts."""
        if "<" in kind.__qualname__:
            raise NoForm(f"a {_name(kind)}, a class that stands inside of a function")
        self._count(kind.__module__, what=_name(kind))
        return _name(kind)

    def _count(self, module: str, *, what: str) -> None:
        """Remember a module, or raise NoForm where nobody can tell what is in it."""
        loaded = sys.modules.get(module)
        if loaded is None or (module == "__main__" and source_of(module) is None):
            raise NoForm(f"{what}, whose text is in no file")
        self.modules.add(module)


def _name(thing: type | FunctionType) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"
