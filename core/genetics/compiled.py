"""The one way in which loops over rows and genotypes are compiled: for this machine, once, without holding the GIL."""

from __future__ import annotations

from typing import TYPE_CHECKING, ParamSpec, TypeVar, cast

import numba

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function on arrays and numbers; a product and a sum may become one instruction, order never changes."""
    return cast("Callable[P, R]", numba.njit(cache=True, nogil=True, fastmath={"contract"})(function))
