"""The Prefect block of a place on the Hugging Face hub where data sets are published, and of who publishes them."""

from __future__ import annotations

# The module, not the class: what is a block by a name of this file is registered as one of ours.
from prefect.blocks import core
from pydantic import Field, HttpUrl, SecretStr

from sluiceway.core.publish.hub import HubPlace


class Hub(core.Block):
    """Where on the Hugging Face hub data sets are published, with the token of who may.

    Example:
        Publish a release there, too:
        ```python
        from dataclasses import replace

        from sluiceway.blocks.hub import Hub
        from sluiceway.tasks.publish import publish_snapshot

        published = publish_snapshot(replace(wish, hub=Hub.load("BLOCK_NAME").place))
        ```
    """

    _block_type_name = "Hugging Face hub"
    _block_type_slug = "hugging-face-hub"
    _documentation_url = HttpUrl("https://huggingface.co/docs/hub/security-tokens")

    token: SecretStr = Field(description="A token that may write to these repositories, and to nothing else.")
    distributions: str = Field(
        default="", description="The repository of the distributions, such as somebody/prs-percentiles."
    )
    catalogue: str = Field(default="", description="The repository of the catalogue, such as somebody/pgs-catalog.")
    endpoint: HttpUrl = Field(default=HttpUrl("https://huggingface.co"), description="The hub's address.")
    revision: str = Field(default="main", description="The branch to publish on.")

    @property
    def place(self) -> HubPlace:
        """The place, as publishing takes it."""
        return HubPlace(
            token=self.token,
            distributions=self.distributions or None,
            catalogue=self.catalogue or None,
            endpoint=str(self.endpoint).rstrip("/"),
            revision=self.revision,
        )
