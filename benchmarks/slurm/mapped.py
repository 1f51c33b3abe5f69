"""What is mapped: it travels by value, so it stands alone."""

from __future__ import annotations


def doubled(number: int) -> int:
    """Do next to nothing."""
    return 2 * number
