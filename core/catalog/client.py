"""Asks the PGS Catalog, or whoever has files for us: politely, again where that may help, never twice for the same."""

from __future__ import annotations

import asyncio
import email.utils
import functools
import json
import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar
from urllib.parse import urlsplit

import httpx

from sluiceway.core.catalog.arrivals import Arrival, Seen, Spoiled
from sluiceway.core.catalog.source import CatalogSource, Manners
from sluiceway.core.errors import UpstreamFailed
from sluiceway.core.events import tell

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from sluiceway.core.remote.clock import Clock

log = logging.getLogger(__name__)

_Answer = TypeVar("_Answer")
_MAY_PASS: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_LARGEST_PAGE: Final = 250


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A file that is here now, and whether it is another one than before."""

    path: Path
    seen: Seen
    is_new: bool


class _Again(Exception):
    """A try that failed, and may succeed later; perhaps the server says when."""

    def __init__(self, reason: str, *, wait: timedelta | None = None, got_further: bool = False) -> None:
        super().__init__(reason)
        self.wait, self.got_further = wait, got_further


@dataclass(slots=True, kw_only=True)
class _Wanted:
    """A file that is being brought: what is here of it, and what it must be."""

    arrival: Arrival
    before: Seen | None
    md5: str | None
    tell_of: Callable[[int, int | None], None]
    most: int = 0
    refused: str | None = None

    def conditions(self) -> dict[str, str]:
        return self.arrival.conditions() or (self.before.conditions() if self.before else {})

    def got_further(self) -> bool:
        further = self.arrival.size > self.most
        self.most = max(self.most, self.arrival.size)
        return further

    def refuse_twice(self, error: Spoiled) -> None:
        """Ask for a file that came whole and wrong once more, not again and again: the server has no other."""
        if self.refused == str(error) and not self.arrival.size:
            raise _failed(self.arrival.url, 2, str(error)) from error
        self.refused = str(error)


class _Turns:
    """Lets questions go one by one, with a pause between two."""

    def __init__(self, pause: timedelta, clock: Clock) -> None:
        self._pause, self._clock = pause, clock
        self._next: datetime | None = None

    async def wait(self) -> None:
        now = self._clock.now()
        mine = now if self._next is None else max(now, self._next)
        self._next = mine + self._pause
        if mine > now:
            await self._clock.sleep(mine - now)


class Client:
    """A connection to a catalogue, for as long as its block; every question waits for its turn, and is counted."""

    def __init__(self, source: CatalogSource, *, clock: Clock, manners: Manners | None = None) -> None:
        """Ask this catalogue; nothing is asked yet."""
        self.source = source
        self.manners = manners or Manners()
        self.n_asked = 0
        self._clock = clock
        self._at_once = asyncio.Semaphore(self.manners.at_once)
        self._api = _Turns(self.manners.api_pause, clock)
        self._files = _Turns(self.manners.file_pause, clock)
        silence, connect = self.manners.silence.total_seconds(), self.manners.connect.total_seconds()
        self._http = httpx.AsyncClient(
            verify=_trusted(),
            timeout=httpx.Timeout(silence, connect=connect, pool=None),
            limits=httpx.Limits(max_connections=self.manners.at_once),
            follow_redirects=True,
            # A packed answer has other bytes than the file, so its length and its parts would mean nothing.
            headers={"User-Agent": f"sluiceway/{version('sluiceway')}", "Accept-Encoding": "identity"},
        )

    async def __aenter__(self) -> Self:
        """Begin."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close every connection."""
        await self._http.aclose()

    async def text(self, url: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """Give a short answer: one that is there (2xx), has not changed (304), or is not there (404)."""

        async def attempt() -> httpx.Response:
            async with self._at_once:
                answer = await self._http.get(url, headers=headers)
            _require_answer(answer)
            return answer

        return await self._patiently(url, attempt)

    async def head(self, url: str) -> httpx.Response:
        """Ask what there is under an address, without having it sent."""

        async def attempt() -> httpx.Response:
            async with self._at_once:
                answer = await self._http.head(url)
            _require_answer(answer)
            return answer

        return await self._patiently(url, attempt)

    async def json(self, path: str, **query: str) -> Any:
        """Ask the REST interface a question; none where it knows nothing of that name."""
        url = str(httpx.URL(self.source.endpoint(path), params=query))

        async def attempt() -> Any:
            async with self._at_once:
                answer = await self._http.get(url)
            _require_answer(answer)
            if answer.status_code == 404:
                return None
            try:
                return json.loads(answer.content)
            except ValueError as error:
                raise _Again(f"the answer is no JSON: {answer.text[:100]!r}") from error

        return await self._patiently(url, attempt)

    async def pages(self, path: str, **query: str) -> list[dict[str, Any]]:
        """Ask for a list that comes in pages, and give all of it."""
        found: list[dict[str, Any]] = []
        while True:
            page = await self.json(path, limit=str(_LARGEST_PAGE), offset=str(len(found)), **query)
            results = [] if page is None else page.get("results") or []
            found += results
            if not results or page.get("next") is None:
                return found

    async def download(
        self,
        url: str,
        target: Path,
        *,
        md5: str | None = None,
        tell_of: Callable[[int, int | None], None] | None = None,
    ) -> Received:
        """Bring a file here, unless the very same version is here already.

        Args:
            url: Its address.
            target: Where it is to lie; what lies there stays until the new one is whole.
            md5: What its digest must be, where that is known.
            tell_of: Is told how many bytes have arrived, and of how many.

        Raises:
            UpstreamFailed: It is not there, or did not come whole, however often it was asked for.
        """
        before = Seen.of(target)
        if before is not None and md5 is not None and before.md5 == md5.lower():
            return Received(path=target, seen=before, is_new=False)
        arrival = Arrival(target, url)
        wanted = _Wanted(arrival=arrival, before=before, md5=md5, tell_of=tell_of or (lambda *_: None))
        try:
            return await self._patiently(url, lambda: self._get_further(wanted))
        finally:
            arrival.close()

    async def _get_further(self, wanted: _Wanted) -> Received:
        """Have a file sent once, and note whether more of it is here than ever before."""
        try:
            return await self._receive(wanted)
        except (httpx.TransportError, _Again) as trouble:
            wait = trouble.wait if isinstance(trouble, _Again) else None
            raise _Again(_said(trouble), wait=wait, got_further=wanted.got_further()) from trouble

    async def _receive(self, wanted: _Wanted) -> Received:
        """Have a file sent once, from where it is; _Again where it did not come whole."""
        arrival = wanted.arrival
        async with self._at_once, self._http.stream("GET", arrival.url, headers=wanted.conditions()) as answer:
            if answer.status_code == 416:
                arrival.drop()
            _require_answer(answer)
            if answer.status_code == 304 and wanted.before is not None:
                return Received(path=arrival.target, seen=wanted.before, is_new=False)
            if answer.status_code not in (200, 206):
                raise _failed(arrival.url, 1, f"the server answered {answer.status_code} {answer.reason_phrase}")
            try:
                arrival.begin(answer.status_code, answer.headers)
                async for chunk in answer.aiter_raw():
                    arrival.append(chunk)
                    wanted.tell_of(arrival.size, arrival.total)
                seen = arrival.finish(answer.headers, md5=wanted.md5)
            except Spoiled as error:
                wanted.refuse_twice(error)
                raise _Again(str(error)) from error
        is_new = wanted.before is None or wanted.before.md5 != seen.md5
        return Received(path=arrival.target, seen=seen, is_new=is_new)

    async def _patiently(self, url: str, attempt: Callable[[], Awaitable[_Answer]]) -> _Answer:
        """Try until it succeeds, or trying again makes no sense; as long as more arrives, it does."""
        turns = self._api if url.startswith(self.source.api) else self._files
        pauses, tries = self.manners.patience.pauses(), 0
        while True:
            await turns.wait()
            tries += 1
            self.n_asked += 1
            try:
                return await attempt()
            except (httpx.TransportError, _Again) as trouble:
                wait = trouble.wait if isinstance(trouble, _Again) else None
                if isinstance(trouble, _Again) and trouble.got_further:
                    pauses = self.manners.patience.pauses()
                pause = next(pauses, None)
                if pause is None or (wait is not None and wait > self.manners.longest_wait):
                    raise _failed(url, tries, _said(trouble)) from trouble
                # Twice may be chance; from then on somebody wonders why nothing happens.
                level = logging.DEBUG if tries < 3 else logging.INFO
                tell(log, "asked again", level=level, url=url, tries=tries, reason=_said(trouble))
            await self._clock.sleep(max(pause, wait or timedelta()))


@functools.cache
def _trusted() -> ssl.SSLContext:
    """Read once whom to trust: that takes longer than a connection."""
    return httpx.create_ssl_context()


def _require_answer(answer: httpx.Response) -> None:
    """Let pass what answers the question, be it that there is nothing; the rest may be asked again, or may not."""
    status = answer.status_code
    if status == 416:
        # What was here is no part of what is there now.
        raise _Again("the server has no such part")
    if status in _MAY_PASS:
        raise _Again(f"the server answered {status} {answer.reason_phrase}", wait=_retry_after(answer))
    if not (200 <= status < 300 or status in (304, 404)):
        raise _failed(str(answer.url), 1, f"the server answered {status} {answer.reason_phrase}")


def _retry_after(answer: httpx.Response) -> timedelta | None:
    """Read when the server wants to be asked again: in so many seconds, or at a time of its own clock."""
    said = answer.headers.get("retry-after", "")
    if said.isascii() and said.isdigit():
        return timedelta(seconds=min(int(said), 10**8))
    try:
        then = email.utils.parsedate_to_datetime(said)
        now = email.utils.parsedate_to_datetime(answer.headers["date"])
    except (ValueError, TypeError, KeyError):
        return None
    return max(_in_utc(then) - _in_utc(now), timedelta())


def _in_utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time


def _said(trouble: Exception) -> str:
    return str(trouble) or type(trouble).__name__


def _failed(url: str, tries: int, reason: str) -> UpstreamFailed:
    return UpstreamFailed(machine=urlsplit(url).netloc, url=url, tries=tries, reason=reason)
