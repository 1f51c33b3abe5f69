"""Metadata of whoever has none here: from the hub that the settings name, else from the catalogue."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from sluiceway import cli
from sluiceway.core.catalog.catalog import Catalog
from sluiceway.core.catalog.refresh import CatalogPlace
from tests.conftest import User
from tests.loopback_catalog import LoopbackCatalog
from tests.loopback_hub import CATALOGUE, EXPIRED, LoopbackHub, empty_hub


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kept: CatalogPlace) -> Iterator[LoopbackHub]:
    """A public hub with the metadata of the catalogue, as somebody cleaned them."""
    cleaned = Catalog(kept).metadata()
    with empty_hub(monkeypatch, tmp_path) as served:
        served.is_public = True
        served.push(
            CATALOGUE, {f"data/metadata/{each}.parquet": written(cleaned.table(each)) for each in cleaned.digests}
        )
        yield served


def written(table: pl.DataFrame) -> bytes:
    content = io.BytesIO()
    table.write_parquet(content)
    return content.getvalue()


@pytest.fixture
def here(user: User, upstream: LoopbackCatalog, hub: LoopbackHub) -> User:
    """A user whose settings name the hub and the catalogue, and who has nothing yet."""
    settings = {
        "HOME": str(user.folder / "own home"),
        "CACHE_DIR": str(user.folder / "own cache"),
        "CATALOG_API": upstream.source.api,
        "CATALOG_FILES": upstream.source.files,
        "METADATA_HUB": CATALOGUE,
        "HUB_ENDPOINT": hub.base,
        "OFFLINE": "0",
    }
    for name, value in settings.items():
        user.export(f"SLUICEWAY_{name}", value)
    upstream.asked.clear()
    return user


def test_the_hub_is_asked_before_the_catalogue_and_without_a_token(
    here: User, hub: LoopbackHub, upstream: LoopbackCatalog
) -> None:
    found = Catalog.here().metadata()
    assert (found.origin, found.table("scores").height) == (f"hub:{CATALOGUE}", 6)
    assert upstream.count() == 0
    hub.asked.clear()
    assert Catalog.here().search("height").height == 3
    assert hub.asked == []


@pytest.mark.parametrize(
    "trouble", ["a token that has expired", "no such data set", "nobody there", "a file that is no table"]
)
def test_where_the_hub_cannot_help_the_catalogue_does_and_it_is_told(
    here: User, hub: LoopbackHub, upstream: LoopbackCatalog, caplog: pytest.LogCaptureFixture, trouble: str
) -> None:
    """Red on: core/catalog/refresh.py: `except (AuthenticationFailed, UpstreamFailed) as error:` ->
    `except ZeroDivisionError as error:`."""
    caplog.set_level(logging.WARNING)
    if trouble == "a token that has expired":
        here.export("SLUICEWAY_HUB_TOKEN", EXPIRED)
    elif trouble == "no such data set":
        here.export("SLUICEWAY_METADATA_HUB", "ada/elsewhere")
    elif trouble == "nobody there":
        here.export("SLUICEWAY_HUB_ENDPOINT", "http://127.0.0.1:9")
    else:
        hub.push(CATALOGUE, {"data/metadata/cohorts.parquet": b"PAR1 and no more"})
    found = Catalog.here().metadata()
    assert (found.origin, found.table("scores").height) == ("upstream", 6)
    assert "hub passed over" in caplog.text or "metadata unreadable" in caplog.text
    assert EXPIRED not in caplog.text


def test_files_in_other_folders_of_a_hub_are_left_there(here: User, hub: LoopbackHub) -> None:
    """Red on: core/publish/hub.py: `([\\w-]+\\.parquet)` -> `(.+\\.parquet)`."""
    others = ("data/metadata/curation/traits.parquet", "data/metadata/../../outside.parquet", "data/other.parquet")
    hub.push(CATALOGUE, dict.fromkeys(others, b"PAR1 and no more"))
    assert Catalog.here().metadata().origin == f"hub:{CATALOGUE}"
    assert not list(here.folder.rglob("outside*"))


def test_metadata_of_somebody_who_has_no_traits_are_searched_by_those_of_the_scores(
    here: User, hub: LoopbackHub
) -> None:
    hub.repositories[CATALOGUE][-1].files.pop("data/metadata/traits.parquet")
    assert Catalog.here().search(trait="EFO_0004339")["pgs_id"].to_list() == ["PGS000001", "PGS000003", "PGS000005"]


def test_a_look_at_the_catalogue_puts_its_own_in_the_place_of_the_hubs(here: User) -> None:
    Catalog.here().metadata()
    assert Catalog.here().refresh().metadata.origin == "upstream"
    assert Catalog.here().metadata().origin == "upstream"


def pull(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        cli.main(["catalog", "pull", "--metadata", *words])
    return int(ended.value.code or 0), capsys.readouterr().out


def test_pull_brings_the_metadata_alone_and_says_whose_they_are(
    here: User, upstream: LoopbackCatalog, capsys: pytest.CaptureFixture[str]
) -> None:
    code, told = pull(capsys, "--json")
    first = json.loads(told)
    assert (code, first["from"], first["scores"], upstream.count()) == (0, f"hub:{CATALOGUE}", 6, 0)
    here.export("SLUICEWAY_METADATA_HUB", "ada/elsewhere")
    assert json.loads(pull(capsys, "--json")[1])["from"] == f"hub:{CATALOGUE}"
    assert json.loads(pull(capsys, "--again", "--json")[1])["from"] == "upstream"
    assert "upstream" in pull(capsys)[1]
    assert pull(capsys, "PGS000001")[0] == 2
