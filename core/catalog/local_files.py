"""The scoring files kept on this machine, by their catalogue ids, and every other way to say which scores are meant.

They lie in `<home>/catalog/scoring_files/` under the names that the catalogue gives them: `PGS000001.txt.gz` as it was
submitted, `PGS000001_hmPOS_GRCh38.txt.gz` with the positions of a build. What came from the catalogue is kept
as a table, and a note `PGS000001_hmPOS_GRCh38.table.json` stands for the file; a file goes before a note.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sluiceway.core.catalog.kept import SUFFIX, is_note, usable
from sluiceway.core.errors import InputMissing, ScoreNotKept, ScoringFileBroken
from sluiceway.core.genetics.build import Build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

SUFFIXES: Final = (".txt", ".txt.gz", ".tsv", ".tsv.gz", ".scorefile", ".scorefile.gz")
"""What the names of scoring files in a folder end with."""

_PGS_IDS: Final = re.compile(r"PGS\d{6}(?:[,\s]+PGS\d{6})*", re.IGNORECASE)
_PACKED: Final = (".txt.gz", ".txt", SUFFIX)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFiles:
    """The folder of scoring files, as seen by whoever scores a panel of one build."""

    folder: Path
    build: Build | None

    @classmethod
    def below(cls, home: Path, build: Build | None) -> LocalFiles:
        """Give the folder that belongs to a home."""
        return cls(folder=home / "catalog" / "scoring_files", build=build)

    def find(self, pgs_id: str) -> Path | None:
        """Give a score's file: harmonised to the panel's build where that is there, else as it was submitted."""
        builds = [self.build] if self.build is not None else list(Build)
        names = [f"{pgs_id}_hmPOS_{build}" for build in builds] + [pgs_id]
        files = [self.folder / f"{name}{suffix}" for name in names for suffix in _PACKED]
        # What was set aside is found last, so that whoever asks for it is told what is wrong with it.
        aside = [self._quarantine / f"{name}.txt.gz" for name in names]
        return next((file for file in (*files, *aside) if file.is_file()), None)

    def files_of(
        self, given: Sequence[Path], *, fetch: Callable[[tuple[str, ...]], None] = lambda _: None
    ) -> list[Path]:
        """Give the scoring files that are meant, each once.

        Args:
            given: Each is a file, a folder, a pattern such as scores/*.txt.gz, catalogue ids between commas, or @ and a
                file that has one of these in each line.
            fetch: Brings the scores of these ids here, as far as it can.
        """
        fetch(self.lacking(given))
        files: dict[Path, None] = {}
        missing: list[str] = []
        for path in _listed(given):
            ids = _ids(path)
            if ids:
                for pgs_id in ids:
                    found = self.find(pgs_id)
                    files.update({found: None} if found else {})
                    missing += [] if found else [pgs_id]
            else:
                files.update(dict.fromkeys(_named(path)))
        if missing:
            raise ScoreNotKept(scores=tuple(dict.fromkeys(missing)), folder=self.folder, build=self.build)
        if not files:
            raise InputMissing(what="a scoring file in", path=given[0])
        return list(files)

    def lacking(self, given: Iterable[Path]) -> tuple[str, ...]:
        """Give the ids among these that have no file here."""
        ids = (pgs_id for path in _listed(given) for pgs_id in _ids(path))
        return tuple(each for each in dict.fromkeys(ids) if not self._is_usable(self.find(each)))

    def _is_usable(self, found: Path | None) -> bool:
        if found is None or found.parent == self._quarantine:
            return False
        return not is_note(found) or usable(found) is not None

    @property
    def _quarantine(self) -> Path:
        return self.folder.with_name("quarantine")


def require_md5(file: Path) -> None:
    """Refuse a scoring file that is not the one of which the file beside it, its name with `.md5`, tells the digest."""
    told = file.with_name(f"{file.name}.md5")
    if not told.is_file():
        return
    expected = told.read_text(errors="replace").split()[:1]
    with file.open("rb") as content:
        found = hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if expected != [found]:
        said = f"its md5 is {found}, but {told.name} says {' '.join(expected) or 'nothing'}: fetch both again"
        raise ScoringFileBroken(path=file, reason=said)


def ids_in(given: Iterable[Path]) -> tuple[str, ...]:
    """Give the ids that are meant, between commas or in the lines of @FILE; refuse everything else."""
    found: dict[str, None] = {}
    for path in _listed(given):
        ids = _ids(path)
        if not ids:
            raise InputMissing(what="no id such as PGS000001, and", path=path)
        found.update(dict.fromkeys(ids))
    return tuple(found)


def _ids(path: Path) -> list[str]:
    """Give the ids as which a path was meant; none where it is one."""
    meant = _PGS_IDS.fullmatch(str(path)) and not path.exists()
    return re.split(r"[,\s]+", str(path).upper()) if meant else []


def _listed(given: Iterable[Path]) -> Iterator[Path]:
    for path in given:
        if not path.name or not str(path).startswith("@"):
            yield path
            continue
        file = Path(str(path).removeprefix("@"))
        if not file.is_file():
            raise InputMissing(what="the list of scores", path=file)
        lines = (line.partition("#")[0].strip() for line in file.read_text().splitlines())
        yield from (Path(line) for line in lines if line)


def _named(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(each for each in path.iterdir() if each.name.endswith(SUFFIXES))
    if path.is_file():
        return [path]
    anchor = Path(path.anchor)
    matching = sorted(anchor.glob(str(path.relative_to(anchor)))) if any(each in str(path) for each in "*?[") else []
    if not matching:
        raise InputMissing(what="the scoring file", path=path)
    return [each for each in matching if each.is_file()]
