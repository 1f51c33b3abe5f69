"""Times and texts as the registry's tables have them: both databases must hold and compare them alike."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final, overload

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


@overload
def moment(at: datetime) -> int: ...
@overload
def moment(at: None) -> None: ...
def moment(at: datetime | None) -> int | None:
    """Give a time as whole microseconds since 1970.

    >>> moment(datetime(1970, 1, 1, 0, 0, 2, tzinfo=UTC))
    2000000
    """
    return None if at is None else (at - _EPOCH) // _MICROSECOND


def time_of(moment: int) -> datetime:
    """Give the time back."""
    return _EPOCH + moment * _MICROSECOND


@overload
def plain(text: str) -> str: ...
@overload
def plain(text: None) -> None: ...
def plain(text: str | None) -> str | None:
    r"""Give a text that every database can hold: NUL, and bytes that are no UTF-8, are written out.

    >>> print(plain("a" + chr(0) + chr(0xDC80)))
    a\x00\udc80
    """
    return None if text is None else text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()
