"""The client: polite, stubborn as far as that makes sense, and it never takes a part for the whole."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from sluiceway.core.catalog.arrivals import Arrival
from sluiceway.core.catalog.client import Client, Received
from sluiceway.core.catalog.source import CatalogSource, Manners
from sluiceway.core.errors import UpstreamFailed
from sluiceway.core.remote.clock import SystemClock
from tests.clocks import SteppedClock
from tests.conftest import ROOT
from tests.loopback_catalog import SWIFT, LoopbackCatalog
from tests.loopback_content import real

LARGE = bytes(range(256)) * 4_000
MD5 = hashlib.md5(LARGE, usedforsecurity=False).hexdigest()

Download = Callable[..., Awaitable[Received]]


@pytest.fixture
def large(upstream: LoopbackCatalog) -> str:
    """The address of a file of a megabyte."""
    upstream.other_files["/files/large.bin"] = LARGE
    return f"{upstream.source.files}/large.bin"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "here" / "large.bin"


async def download(upstream: LoopbackCatalog, url: str, target: Path, md5: str | None = None) -> Received:
    async with Client(upstream.source, clock=SystemClock(), manners=SWIFT) as client:
        return await client.download(url, target, md5=md5)


def left(target: Path) -> set[str]:
    return {each.name for each in target.parent.iterdir()}


async def test_a_file_comes_whole_and_is_not_sent_again(upstream: LoopbackCatalog, large: str, target: Path) -> None:
    first, second = [await download(upstream, large, target) for _ in range(2)]
    assert (target.read_bytes(), first.seen.md5, first.is_new, second.is_new) == (LARGE, MD5, True, False)
    assert [each.status for each in upstream.asked] == [200, 304]


async def test_a_part_that_is_all_of_it_is_not_trusted_without_a_look(
    upstream: LoopbackCatalog, large: str, target: Path
) -> None:
    """Red on: core/catalog/client.py: `arrival.drop() _require_answer(answer)` -> `_require_answer(answer)`."""
    upstream.truncate("large.bin", after=300_000)
    upstream.answer("large.bin", 500, times=4)
    with pytest.raises(UpstreamFailed):
        await download(upstream, large, target)
    target.with_name(".large.bin.part").write_bytes(LARGE[::-1])
    upstream.asked.clear()
    await download(upstream, large, target)
    assert (target.read_bytes() == LARGE, [each.status for each in upstream.asked]) == (True, [416, 200])


async def test_without_etags_dates_tell_versions_apart(upstream: LoopbackCatalog, large: str, target: Path) -> None:
    upstream.sends_etags = False
    upstream.truncate("large.bin", after=300_000)
    for _ in range(2):
        await download(upstream, large, target)
    assert target.read_bytes() == LARGE
    assert [each.status for each in upstream.asked] == [200, 206, 304]


async def test_a_file_of_the_right_md5_is_not_even_asked_for(
    upstream: LoopbackCatalog, large: str, target: Path
) -> None:
    for _ in range(2):
        await download(upstream, large, target, MD5)
    assert upstream.count() == 1


async def test_what_was_cut_off_goes_on_from_there(upstream: LoopbackCatalog, large: str, target: Path) -> None:
    """Red on: core/catalog/arrivals.py: `if validator is None or not self.size:` -> `if True:`."""
    upstream.truncate("large.bin", after=300_000)
    await download(upstream, large, target, MD5)
    assert target.read_bytes() == LARGE
    assert [(each.status, each.headers.get("range", "")) for each in upstream.asked][-1] == (206, "bytes=300000-")


async def test_an_answer_that_ends_too_early_is_never_taken_for_the_file(
    upstream: LoopbackCatalog, large: str, target: Path
) -> None:
    """Red on: core/catalog/client.py: `and trouble.got_further:` -> `and False:`."""
    for after in range(100, 1_000, 100):
        upstream.truncate("large.bin", after=after)
    await download(upstream, large, target)
    assert target.read_bytes() == LARGE


async def test_a_file_revised_meanwhile_is_not_patched_together(
    upstream: LoopbackCatalog, large: str, target: Path
) -> None:
    """Red on: core/catalog/arrivals.py: `"If-Range": validator` -> `"X-If-Range": validator`."""
    upstream.truncate("large.bin", after=300_000)
    upstream.answer("large.bin", 500, times=4)
    with pytest.raises(UpstreamFailed):
        await download(upstream, large, target)
    upstream.other_files["/files/large.bin"] = LARGE[::-1]
    await download(upstream, large, target)
    assert target.read_bytes() == LARGE[::-1]


async def test_silence_is_not_waited_for_longer_than_agreed(
    upstream: LoopbackCatalog, large: str, target: Path
) -> None:
    """Red on: core/catalog/client.py: `httpx.Timeout(silence,` -> `httpx.Timeout(None,`."""
    upstream.stall("large.bin", after=1_000)
    await asyncio.wait_for(download(upstream, large, target), 5)
    assert (target.read_bytes() == LARGE, upstream.asked[-1].status) == (True, 206)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_trouble_that_may_pass_is_asked_past(
    upstream: LoopbackCatalog, large: str, target: Path, status: int
) -> None:
    upstream.answer("large.bin", status, times=2)
    await download(upstream, large, target)
    assert [each.status for each in upstream.asked] == [status, status, 200]


@pytest.mark.parametrize(("status", "times"), [(403, 1), (404, 1), (500, 5)])
async def test_trouble_that_stays_is_told_with_the_address(
    upstream: LoopbackCatalog, large: str, target: Path, status: int, times: int
) -> None:
    upstream.answer("large.bin", status, times=9)
    with pytest.raises(UpstreamFailed, match=rf"large\.bin .* {times} tries.*{status}"):
        await download(upstream, large, target)
    assert (upstream.count(), left(target)) == (times, set())


async def test_nobody_there_is_an_error_of_the_same_kind(target: Path) -> None:
    source = CatalogSource(api="http://127.0.0.1:9", files="http://127.0.0.1:9")
    async with Client(source, clock=SystemClock(), manners=SWIFT) as client:
        with pytest.raises(UpstreamFailed, match=r"127\.0\.0\.1:9"):
            await client.download("http://127.0.0.1:9/x", target)


async def test_no_bytes_are_no_file(upstream: LoopbackCatalog, large: str, target: Path) -> None:
    """Red on: core/catalog/arrivals.py: `if not seen.size:` -> `if False:`."""
    upstream.serve_nothing("large.bin", times=9)
    with pytest.raises(UpstreamFailed, match="no bytes"):
        await download(upstream, large, target)
    assert left(target) == set()


async def test_another_content_than_promised_is_refused_after_two_looks(
    upstream: LoopbackCatalog, large: str, target: Path
) -> None:
    """Red on: core/catalog/arrivals.py: `seen.md5 != md5.lower()` -> `not seen.md5`."""
    upstream.serve_garbage("large.bin", times=9)
    with pytest.raises(UpstreamFailed, match=f"the catalogue says {MD5}"):
        await download(upstream, large, target, MD5)
    assert (left(target), upstream.count()) == (set(), 2)


async def test_what_was_there_stays_until_the_new_one_is_whole(
    upstream: LoopbackCatalog, large: str, target: Path
) -> None:
    await download(upstream, large, target)
    upstream.other_files["/files/large.bin"] = LARGE[::-1]
    upstream.truncate("large.bin", after=0, times=9)
    with pytest.raises(UpstreamFailed):
        await download(upstream, large, target)
    assert target.read_bytes() == LARGE


async def test_two_at_once_get_it_both(upstream: LoopbackCatalog, large: str, target: Path) -> None:
    upstream.delay = 0.05
    await asyncio.gather(*(download(upstream, large, target) for _ in range(2)))
    assert target.read_bytes() == LARGE


def test_a_part_that_another_holds_is_left_alone(target: Path) -> None:
    first, second = Arrival(target, "u"), Arrival(target, "u")
    assert first.path != second.path
    for each in (first, second):
        each.close()
    assert left(target) == set()


async def waits(upstream: LoopbackCatalog, manners: Manners, *, times: int = 1) -> list[float]:
    clock = SteppedClock()
    async with Client(upstream.source, clock=clock, manners=manners) as client:
        for _ in range(times):
            await client.json("release/current")
    return [each.total_seconds() for each in clock.slept]


async def test_the_server_says_when_to_come_back(upstream: LoopbackCatalog) -> None:
    """Red on: core/catalog/client.py: `max(pause, wait or timedelta())` -> `pause`."""
    upstream.answer("current", 429, retry_after="17")
    assert await waits(upstream, Manners(api_pause=timedelta())) == [17.0]


async def test_the_server_may_say_it_as_a_date(upstream: LoopbackCatalog) -> None:
    upstream.answer("current", 503, retry_after="Wed, 21 Oct 2015 07:28:00 GMT")
    assert await waits(upstream, Manners(api_pause=timedelta())) == [1.0]


async def test_a_server_that_wants_hours_is_left_alone(upstream: LoopbackCatalog) -> None:
    """Red on: core/catalog/client.py: `wait > self.manners.longest_wait` -> `False`."""
    upstream.answer("current", 429, retry_after="7200")
    with pytest.raises(UpstreamFailed, match=r"1 tries.*429"):
        await waits(upstream, Manners())
    assert upstream.count() == 1


async def test_questions_keep_their_distance(upstream: LoopbackCatalog) -> None:
    slept = await waits(upstream, Manners(api_pause=timedelta(seconds=2)), times=4)
    assert slept == [2.0, 2.0, 2.0]


async def test_so_many_are_asked_at_once_and_no_more(upstream: LoopbackCatalog) -> None:
    upstream.delay = 0.03
    async with Client(upstream.source, clock=SystemClock(), manners=replace(SWIFT, at_once=3)) as client:
        await asyncio.gather(*(client.json("release/current") for _ in range(12)))
    assert upstream.most_busy == 3


async def test_a_long_list_is_read_to_its_end(upstream: LoopbackCatalog) -> None:
    upstream.terms = [{"id": f"EFO_{number}"} for number in range(600)]
    async with Client(upstream.source, clock=SystemClock(), manners=SWIFT) as client:
        assert await client.pages("trait/all") == upstream.terms


KILLED = """
import asyncio, sys
from pathlib import Path
from tests.core.catalog.test_client import download
from tests.loopback_catalog import LoopbackCatalog
url, target = sys.argv[1:]
catalog = LoopbackCatalog(scores={}, sheets={}, base=url.rpartition("/files")[0])
asyncio.run(download(catalog, url, Path(target)))
"""


@pytest.mark.slow
def test_a_killed_process_leaves_a_part_that_the_next_one_goes_on_with(
    upstream: LoopbackCatalog, large: str, target: Path
) -> None:
    """Red on: core/catalog/arrivals.py: `(target.with_name(f".{target.name}.part"), own)` -> `(own, own)`."""
    upstream.stall("large.bin", after=500_000)
    child = subprocess.Popen([sys.executable, "-c", KILLED, large, str(target)], cwd=ROOT)
    upstream.stalled.wait(20)
    part = target.with_name(".large.bin.part")
    while not part.is_file() or part.stat().st_size < 400_000:
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert not target.exists()
    asyncio.run(download(upstream, large, target, MD5))
    assert (upstream.asked[-1].status, target.read_bytes() == LARGE) == (206, True)


@pytest.mark.parametrize(
    ("path", "query", "ids"),
    [
        ("score/all", {}, [f"PGS{number:06}" for number in range(1, 7)]),
        ("score/search", {"term": "breast"}, ["PGS000002", "PGS000004", "PGS000006"]),
        ("trait/search", {"term": "height"}, ["EFO_0004339"]),
        ("performance/search", {"pgs_id": "PGS000003"}, ["PPM000003"]),
    ],
)
async def test_the_rest_interface_answers_questions(
    upstream: LoopbackCatalog, path: str, query: dict[str, str], ids: list[str]
) -> None:
    async with Client(upstream.source, clock=SystemClock(), manners=SWIFT) as client:
        assert [each["id"] for each in await client.pages(path, **query)] == ids
        assert (await client.json("score/PGS000001"))["trait_reported"] == "Height"
        assert await client.json("score/PGS999999") is None


async def test_a_real_answer_is_read_as_it_is(real_data: Path) -> None:
    with real(real_data).served() as upstream:
        async with Client(upstream.source, clock=SystemClock(), manners=SWIFT) as client:
            answer = await client.json("score/PGS000335")
    assert (answer["variants_number"], answer["publication"]["PMID"]) == (1_079_089, 33_318_493)
