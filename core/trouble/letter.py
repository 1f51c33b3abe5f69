"""What every error of ours is: a letter to the reader, with its values; core/errors.py shows them all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self


def _restore(kind: type[SluicewayError], values: dict[str, Any]) -> SluicewayError:
    error = kind.__new__(kind)
    error.__dict__.update(values)
    return error


@dataclass(kw_only=True, eq=False)
class SluicewayError(Exception):
    """An error of ours: its text is a letter to the reader, its attributes are the values in it."""

    exit_code: ClassVar[int] = 1

    def __reduce__(self) -> tuple[object, tuple[type[Self], dict[str, Any]]]:
        """Pickle by attributes: the default would call the class without its arguments."""
        return _restore, (type(self), self.__dict__)


@dataclass(kw_only=True, eq=False)
class UsageProblem(SluicewayError):
    """What was asked for cannot be done as it was written."""

    exit_code: ClassVar[int] = 2
