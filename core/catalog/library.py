"""Scoring files, parsed once: the same content is never parsed twice, and a damaged table is parsed again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sluiceway.core.catalog.kept import Kept, damaged, is_note, require_kept, store_beside
from sluiceway.core.catalog.local_files import require_md5
from sluiceway.core.catalog.score_table import ParsedScore, content_digest, read_table, write_table
from sluiceway.core.catalog.scoring_file import read_packed, read_scoring_file
from sluiceway.core.errors import ScoringFileBroken
from sluiceway.core.genetics.build import Build
from sluiceway.core.genetics.rows import COLUMNS, OPTIONAL
from sluiceway.core.provenance.digest import digest_of_file
from sluiceway.core.provenance.key import content_key
from sluiceway.core.provenance.software import software_of
from sluiceway.core.remote.clock import SystemClock

if TYPE_CHECKING:
    from pathlib import Path

    from sluiceway.core.genetics.policy import Policy
    from sluiceway.core.remote.clock import Clock
    from sluiceway.core.store.objects import ObjectStore


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownScore:
    """A score whose table is in the store."""

    name: str
    source: Path
    part: int
    key: str
    digest: str
    build: Build | None
    trait: str | None
    n_rows: int
    numbers: tuple[str, ...]
    notes: tuple[str, ...]

    def digest_for(self, policy: Policy) -> str:
        """Give the digest of what scoring reads: ids are in no digest of numbers, so with them it is the file's."""
        return self.digest if policy.match == "position" else self.key


class Library:
    """The tables of scores below one store."""

    def __init__(self, store: ObjectStore, *, clock: Clock | None = None) -> None:
        """Keep tables in this store, and by this clock when a file was found to be broken."""
        self._store = store
        self._clock = clock or SystemClock()
        self._software = software_of("sluiceway.core.catalog.scoring_file")

    def load(self, source: Path, *, again: bool = False) -> tuple[KnownScore, ...]:
        """Give the scores of a file, parsing it unless its content is known; as broken, it is but for `again`.

        Of a score that came from the catalogue there is a note in place of the file, and its table is there already.
        """
        if is_note(source):
            return _noted(source)
        require_md5(source)
        file = digest_of_file(source)
        first = self._store.get(self._key(file, 0))
        if first is None:
            return self._first(source, file, again=again)
        known = [self._store.get(self._key(file, part)) for part in range(first.facts["parts"])]
        found = [_known(source, each.facts, each.key) for each in known if each is not None]
        return tuple(found) if len(found) == len(known) else self._parse(source, file)

    def numbers(self, score: KnownScore) -> ParsedScore:
        """Give a score with its columns that are numbers, from its table or, where that is damaged, from its file."""
        for _ in range(2):
            content = self._content(score)
            if content is not None:
                return read_table(content, columns=score.numbers)
            self._parse(score.source, digest_of_file(score.source))
        return self._from_file(score)

    def whole(self, score: KnownScore) -> ParsedScore:
        """Give a score with its header and every column of its file."""
        content = self._content(score)
        return read_table(content) if content is not None else self._from_file(score)

    def _content(self, score: KnownScore) -> bytes | None:
        if not is_note(score.source):
            return self._store.read(score.key)
        content = store_beside(score.source).read(score.key)
        if content is None:
            raise damaged(score.source)
        return content

    def is_of(self, score: KnownScore, digest: str | None) -> bool:
        """Tell whether a score came from a file with this digest, or is the one of which a note with it tells."""
        if is_note(score.source):
            kept = Kept.read(score.source)
            return kept is not None and score.key in kept.keys and digest == digest_of_file(score.source)
        return digest is not None and self._key(digest, score.part) == score.key

    def _from_file(self, score: KnownScore) -> ParsedScore:
        """Read a score from its file, which must still be what it was: results are kept by that content."""
        parsed = read_scoring_file(score.source)
        if score.part >= len(parsed) or content_digest(parsed[score.part]) != score.digest:
            raise ScoringFileBroken(path=score.source, reason="it changed while it was used")
        return parsed[score.part]

    def _first(self, source: Path, file: str, *, again: bool) -> tuple[KnownScore, ...]:
        """Parse a file, unless the same content could not be parsed before; a content that is broken stays broken."""
        before = None if again else self._store.failure(self._key(file, 0))
        if before is not None:
            raise ScoringFileBroken(path=source, reason=before.reason)
        try:
            return self._parse(source, file)
        except ScoringFileBroken as error:
            self._store.failed(self._key(file, 0), error.said, permanent=True, clock=self._clock)
            raise

    def _parse(self, source: Path, file: str) -> tuple[KnownScore, ...]:
        parsed = read_packed(source)
        return tuple(self._keep(source, file, part, score, len(parsed)) for part, score in enumerate(parsed))

    def _keep(self, source: Path, file: str, part: int, score: ParsedScore, parts: int) -> KnownScore:
        facts: dict[str, Any] = {
            "parts": parts,
            "part": part,
            "name": score.name,
            "digest": content_digest(score),
            "build": score.build,
            "trait": score.header.trait_reported,
            "n_rows": score.rows.height,
            "numbers": [name for name in (*COLUMNS, *OPTIONAL) if name in score.rows.columns],
            "notes": list(score.notes),
        }
        stored = self._store.put(self._key(file, part), lambda path: write_table(score, path), facts=facts)
        return _known(source, stored.facts, stored.key)

    def _key(self, file: str, part: int) -> str:
        return content_key(
            "score table",
            inputs={"file": file},
            parameters={"part": part},
            modules=self._software.modules,
            environment=self._software.environment,
        )


def _noted(note: Path) -> tuple[KnownScore, ...]:
    """Give the scores of which a note tells; ScoringFileBroken where a table is not there."""
    store = store_beside(note)
    stored = [store.get(key) for key in require_kept(note).keys]
    if not stored or any(each is None for each in stored):
        raise damaged(note)
    return tuple(_known(note, each.facts, each.key) for each in stored if each is not None)


def _known(source: Path, facts: dict[str, Any], key: str) -> KnownScore:
    return KnownScore(
        name=facts["name"],
        source=source,
        part=facts["part"],
        key=key,
        digest=facts["digest"],
        build=None if facts["build"] is None else Build(facts["build"]),
        trait=facts["trait"],
        n_rows=facts["n_rows"],
        numbers=tuple(facts["numbers"]),
        notes=tuple(facts["notes"]),
    )
