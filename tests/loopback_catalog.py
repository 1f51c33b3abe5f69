"""A PGS Catalog on 127.0.0.1: a real HTTP server of the REST interface and the files, which a test changes and breaks.

What it serves is a state: scores with their files, and the sheets of the bulk metadata. Every answer is made of that
state when it is asked for, with etags, dates, ranges and lengths as the real one gives them.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from sluiceway.core.catalog.sheets import SHEETS
from sluiceway.core.catalog.source import CatalogSource, Manners
from sluiceway.core.remote.patience import Patience

Row = dict[str, str]
_FIRST_DAY = datetime(2026, 11, 1, tzinfo=UTC)
_SCORE_FILE = re.compile(r"/files/scores/(PGS\d+)/ScoringFiles/(?:Harmonized/)?([^/]+?)(\.md5)?")

SWIFT = Manners(
    at_once=4,
    api_pause=timedelta(),
    file_pause=timedelta(),
    patience=Patience(
        first=timedelta(milliseconds=5), longest=timedelta(milliseconds=20), total=timedelta(milliseconds=60)
    ),
    longest_wait=timedelta(seconds=2),
    connect=timedelta(seconds=2),
    silence=timedelta(milliseconds=500),
)
"""Manners towards a server that is ours: no pauses to speak of."""


@dataclass
class ServedScore:
    """A score: its row of the sheet, and its files by their names."""

    row: Row
    files: dict[str, bytes]
    publishes_md5: bool = True


@dataclass
class Fault:
    """What goes wrong with one answer."""

    kind: Literal["status", "cut", "stall", "empty", "garbage"]
    status: int = 500
    retry_after: str | None = None
    after: int = 0


@dataclass
class Asked:
    """A question that came in, and how it was answered."""

    method: str
    path: str
    headers: dict[str, str]
    status: int = 0


@dataclass
class LoopbackCatalog:
    """The state of the catalogue; everything may be changed while it is served."""

    scores: dict[str, ServedScore]
    sheets: dict[str, list[Row]]
    terms: list[dict[str, Any]] = field(default_factory=list)
    day: int = 0
    base: str = ""
    asked: list[Asked] = field(default_factory=list)
    faults: dict[str, deque[Fault]] = field(default_factory=lambda: defaultdict(deque))
    told: dict[str, Any] = field(default_factory=dict)
    other_files: dict[str, bytes] = field(default_factory=dict)
    etag_salt: str = ""
    sends_etags: bool = True
    delay: float = 0
    busy: int = 0
    most_busy: int = 0
    released: threading.Event = field(default_factory=threading.Event)
    stalled: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def source(self) -> CatalogSource:
        return CatalogSource(api=f"{self.base}/rest", files=f"{self.base}/files")

    # What the catalogue does.

    def add(self, pgs_id: str, score: ServedScore) -> None:
        self.scores[pgs_id] = score
        self.day += 1

    def withdraw(self, pgs_id: str) -> None:
        del self.scores[pgs_id]
        self.day += 1

    def revise(self, pgs_id: str, content: bytes, name: str | None = None) -> None:
        """Put another file in the place of a score's, and nothing else."""
        files = self.scores[pgs_id].files
        files[name or next(iter(files))] = content

    def change_etags(self) -> None:
        """Serve the same under other etags, as a server that was moved does."""
        self.etag_salt += "x"

    # What goes wrong.

    def answer(self, path: str, status: int, *, times: int = 1, retry_after: str | None = None) -> None:
        """Answer with a status whoever asks for a path that ends so."""
        self.faults[path].extend(Fault(kind="status", status=status, retry_after=retry_after) for _ in range(times))

    def truncate(self, path: str, *, after: int, times: int = 1) -> None:
        """Close the connection after so many bytes."""
        self.faults[path].extend(Fault(kind="cut", after=after) for _ in range(times))

    def stall(self, path: str, *, after: int = 0, times: int = 1) -> None:
        """Send so many bytes, and then nothing."""
        self.faults[path].extend(Fault(kind="stall", after=after) for _ in range(times))

    def serve_nothing(self, path: str, *, times: int = 1) -> None:
        """Answer that all is well, with no bytes."""
        self.faults[path].extend(Fault(kind="empty") for _ in range(times))

    def serve_garbage(self, path: str, *, times: int = 1) -> None:
        """Answer with other bytes of the right length."""
        self.faults[path].extend(Fault(kind="garbage") for _ in range(times))

    def fault_of(self, path: str) -> Fault | None:
        with self.lock:
            waiting = next((each for end, each in self.faults.items() if each and path.endswith(end)), None)
            return waiting.popleft() if waiting else None

    # What was asked.

    @contextmanager
    def at_work(self, asked: Asked) -> Iterator[None]:
        """Note a question, and how many are being answered at once."""
        with self.lock:
            self.asked.append(asked)
            self.busy += 1
            self.most_busy = max(self.most_busy, self.busy)
        time.sleep(self.delay)
        try:
            yield
        finally:
            with self.lock:
                self.busy -= 1

    def count(self, part: str = "", *, method: str | None = None, status: int | None = None) -> int:
        """Count the questions for paths with this part."""
        return sum(
            part in each.path and method in (None, each.method) and status in (None, each.status) for each in self.asked
        )

    # What there is.

    def content(self, path: str, query: dict[str, list[str]]) -> bytes | None:
        """Give what is under a path; none where nothing is."""
        if path.startswith("/rest/"):
            answer = self._rest(path.removeprefix("/rest/").strip("/"), query)
            return None if answer is None else json.dumps(answer).encode()
        if path == "/files/pgs_scores_list.txt":
            return "".join(f"{each}\n" for each in sorted(self.scores)).encode()
        found = re.fullmatch(r"/files/metadata/pgs_all_metadata_(\w+)\.csv", path)
        if found:
            return self._sheet(found[1])
        found = _SCORE_FILE.fullmatch(path)
        return self._scoring_file(*found.groups()) if found else self.other_files.get(path)

    def _scoring_file(self, pgs_id: str, name: str, md5: str | None) -> bytes | None:
        score = self.scores.get(pgs_id)
        content = None if score is None else score.files.get(name)
        if md5 is None or content is None or score is None:
            return content
        return f"{_md5(content)}  {name}\n".encode() if score.publishes_md5 else None

    def _sheet(self, name: str) -> bytes | None:
        if name not in SHEETS:
            return None
        rows = [each.row for each in self.scores.values()] if name == "scores" else self.sheets[name]
        columns = list(dict.fromkeys(each for row in rows for each in row)) or list(SHEETS[name].columns)
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue().encode()

    def _rest(self, path: str, query: dict[str, list[str]]) -> Any:
        if path in self.told:
            return self.told[path]
        first = {name: values[0] for name, values in query.items()}
        listed = self._listed(path, first)
        if listed is not None:
            return self._page(path, listed, first)
        if path == "release/current":
            return {"date": f"{_FIRST_DAY + timedelta(days=self.day):%Y-%m-%d}", "score_count": len(self.scores)}
        kind, _, name = path.partition("/")
        if kind == "score" and name in self.scores:
            return self._score(name)
        return next((each for each in self.terms if kind == "trait" and each["id"] == name), None)

    def _listed(self, path: str, query: dict[str, str]) -> list[dict[str, Any]] | None:
        """Give all that a question asks for that is answered in pages."""
        term = query.get("term", "").lower()
        scores = [each for each in sorted(self.scores) if term in str(self.scores[each].row).lower()]
        lists = {
            "trait/all": lambda: self.terms,
            "trait/search": lambda: [each for each in self.terms if term in str(each).lower()],
            "score/all": lambda: [self._score(each) for each in sorted(self.scores)],
            "score/search": lambda: [self._score(each) for each in scores],
            "performance/search": lambda: self._evaluations(query.get("pgs_id", "")),
        }
        return lists[path]() if path in lists else None

    def _evaluations(self, pgs_id: str) -> list[dict[str, Any]]:
        rows = [row for row in self.sheets["performance_metrics"] if row.get("Evaluated Score") == pgs_id]
        return [{"id": row["PGS Performance Metric (PPM) ID"], "associated_pgs_id": pgs_id} for row in rows]

    def _score(self, pgs_id: str) -> dict[str, Any]:
        row = self.scores[pgs_id].row
        return {
            "id": pgs_id,
            "name": row.get("PGS Name"),
            "trait_reported": row.get("Reported Trait"),
            "ftp_scoring_file": self.source.scoring_file(pgs_id, None),
            "date_release": row.get("Release Date"),
        }

    def _page(self, path: str, every: list[dict[str, Any]], query: dict[str, str]) -> dict[str, Any]:
        size, first = int(query.get("limit", "50")), int(query.get("offset", "0"))
        results, more = every[first : first + size], first + size < len(every)
        following = f"{self.base}/rest/{path}?limit={size}&offset={first + size}" if more else None
        return {"size": len(results), "count": len(every), "next": following, "results": results}

    @contextmanager
    def served(self) -> Iterator[LoopbackCatalog]:
        """Serve it, for as long as the block."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"catalog": self}))
        server.daemon_threads = True
        self.base = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.released.set()
            server.shutdown()
            server.server_close()
            thread.join()


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    catalog: LoopbackCatalog
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, format: str, *_: object) -> None:  # noqa: A002 - the base class calls it so
        pass

    def _answer(self, *, with_body: bool) -> None:
        address = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(method=self.command, path=address.path, headers=headers)
        with self.catalog.at_work(asked):
            self._answer_to(asked, parse_qs(address.query), with_body=with_body)

    def _answer_to(self, asked: Asked, query: dict[str, list[str]], *, with_body: bool) -> None:
        content = self.catalog.content(asked.path, query)
        fault = self.catalog.fault_of(asked.path)
        if fault is not None and fault.kind == "status":
            again = {} if fault.retry_after is None else {"Retry-After": fault.retry_after}
            self._send(asked, fault.status, again, b"trouble" if with_body else b"")
        elif content is None:
            self._send(asked, 404, {}, b"not found" if with_body else b"")
        else:
            self._serve(asked, content, fault, with_body=with_body)

    def _serve(self, asked: Asked, content: bytes, fault: Fault | None, *, with_body: bool) -> None:
        digest = _md5(content)
        day = int(digest[:4], 16) % 300
        tags = {
            "ETag": f'"{digest}{self.catalog.etag_salt}"',
            "Last-Modified": format_datetime(_FIRST_DAY - timedelta(days=day), usegmt=True),
            "Accept-Ranges": "bytes",
        }
        if fault is not None and fault.kind == "empty":
            content = b""
        if fault is not None and fault.kind == "garbage":
            content = content[:8] + bytes(255 - each for each in content[8:])
        if not self.catalog.sends_etags:
            del tags["ETag"]
        if self._has_it(asked, tags):
            self._send(asked, 304, tags, b"")
            return
        status, part = self._part(asked, content, tags)
        self._send(asked, status, tags, part, fault=fault, with_body=with_body)

    def _has_it(self, asked: Asked, tags: dict[str, str]) -> bool:
        """Tell whether somebody has this version: by the etag that they name, and only without one by the date."""
        if "if-none-match" in asked.headers:
            return asked.headers["if-none-match"] == tags.get("ETag")
        return asked.headers.get("if-modified-since") == tags["Last-Modified"]

    def _part(self, asked: Asked, content: bytes, tags: dict[str, str]) -> tuple[int, bytes]:
        wanted = re.fullmatch(r"bytes=(\d+)-", asked.headers.get("range", ""))
        same = {tags.get("ETag"), tags["Last-Modified"]}
        if wanted is None or asked.headers.get("if-range", tags["Last-Modified"]) not in same:
            return 200, content
        first = int(wanted[1])
        if first >= len(content):
            tags["Content-Range"] = f"bytes */{len(content)}"
            return 416, b""
        tags["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
        return 206, content[first:]

    def _send(
        self,
        asked: Asked,
        status: int,
        headers: dict[str, str],
        body: bytes,
        *,
        fault: Fault | None = None,
        with_body: bool = True,
    ) -> None:
        asked.status = status
        self.send_response_only(status)
        self.send_header("Date", self.date_time_string())
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if not with_body or status == 304:
            return
        if fault is None or fault.kind not in ("cut", "stall"):
            self.wfile.write(body)
            return
        self.wfile.write(body[: fault.after])
        self.wfile.flush()
        if fault.kind == "stall":
            self.catalog.stalled.set()
            self.catalog.released.wait(30)
        self.close_connection = True
