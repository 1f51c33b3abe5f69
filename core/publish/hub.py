"""A data set on the Hugging Face hub: each release is one commit, and names the one before it as its parent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import SecretStr


@dataclass(frozen=True, slots=True, kw_only=True)
class HubPlace:
    """Where on a hub the data sets are, and who publishes them; the token shows nowhere.

    Attributes:
        distributions: The repository of the distributions, such as somebody/prs-percentiles; none leaves it out.
        catalogue: The repository of the catalogue's metadata and scoring files; none leaves it out.
    """

    token: SecretStr
    distributions: str | None = None
    catalogue: str | None = None
    endpoint: str = "https://huggingface.co"
    revision: str = "main"
