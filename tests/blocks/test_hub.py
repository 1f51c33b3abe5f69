"""The block of a place on a hub: it gives the place, and its token to nobody who only looks."""

from __future__ import annotations

import pytest

from sluiceway.blocks.hub import Hub

TOKEN = "hf_" + "secret"


def test_it_gives_the_place_as_publishing_takes_it() -> None:
    place = Hub(token=TOKEN, distributions="ada/prs-percentiles").place
    assert (place.distributions, place.catalogue, place.endpoint) == (
        "ada/prs-percentiles",
        None,
        "https://huggingface.co",
    )
    assert place.token.get_secret_value() == TOKEN
    assert place.address("ada/x") == "https://huggingface.co/datasets/ada/x/resolve/main"


@pytest.mark.parametrize("shown", [repr, str, lambda block: block.model_dump_json(), lambda block: repr(block.place)])
def test_its_token_is_not_shown(shown: object) -> None:
    assert callable(shown)
    assert TOKEN not in shown(Hub(token=TOKEN))
