"""Which scoring files are meant: by path, by pattern, by catalogue id, from a list."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from sluiceway.core.catalog.library import Library
from sluiceway.core.catalog.local_files import LocalFiles
from sluiceway.core.errors import InputMissing, ScoreNotKept, ScoringFileBroken
from sluiceway.core.genetics.build import Build
from sluiceway.core.store.objects import ObjectStore
from tests.conftest import User

KEPT = [
    "PGS000001.txt.gz", "PGS000001_hmPOS_GRCh37.txt.gz", "PGS000001_hmPOS_GRCh38.txt.gz", "PGS000002.txt",
    "PGS000003_hmPOS_GRCh37.txt", "PGS000004_hmPOS_GRCh38.txt.gz.md5",
]  # fmt: skip
ROWS = "#pgs_id=P\nrsID\teffect_allele\tother_allele\teffect_weight\nrs1\tA\tG\t1\n"


@pytest.fixture
def home(user: User) -> Path:
    """A home with kept files, and the working directory with files of one's own."""
    folder = LocalFiles.below(user.folder / "home", None).folder
    folder.mkdir(parents=True)
    for name in KEPT:
        (folder / name).write_text(ROWS)
    (user.folder / "own").mkdir()
    for name in ("own/b.txt", "own/a.tsv.gz", "own/readme.md", "c.txt"):
        user.write(name, ROWS)
    user.write("ids.txt", "# mine\nPGS000002\n\nown/b.txt  # and this\n")
    return user.folder / "home"


@pytest.mark.parametrize(
    ("build", "given", "names"),
    [
        (Build.GRCH38, ["PGS000001"], ["PGS000001_hmPOS_GRCh38.txt.gz"]),
        (Build.GRCH37, ["pgs000001"], ["PGS000001_hmPOS_GRCh37.txt.gz"]),
        (Build.GRCH36, ["PGS000001"], ["PGS000001.txt.gz"]),
        (Build.GRCH38, ["PGS000002,PGS000001"], ["PGS000002.txt", "PGS000001_hmPOS_GRCh38.txt.gz"]),
        (None, ["PGS000003", "PGS000003"], ["PGS000003_hmPOS_GRCh37.txt"]),
        (Build.GRCH38, ["own"], ["a.tsv.gz", "b.txt"]),
        (Build.GRCH38, ["own/*.md", "own", "c.txt"], ["readme.md", "a.tsv.gz", "b.txt", "c.txt"]),
        (Build.GRCH38, ["@ids.txt"], ["PGS000002.txt", "b.txt"]),
    ],
)
def test_what_is_given_becomes_files(home: Path, build: Build | None, given: list[str], names: list[str]) -> None:
    found = LocalFiles.below(home, build).files_of([Path(each) for each in given])
    assert [each.name for each in found] == names


def test_ids_that_are_not_kept_are_named_at_once_with_the_folder_and_the_name_to_give(home: Path) -> None:
    kept = LocalFiles.below(home, Build.GRCH38)
    given = [Path("PGS000003"), Path("PGS000001,PGS000004"), Path("PGS000003")]
    with pytest.raises(ScoreNotKept, match=r"PGS000003, PGS000004 .*scoring_files.*PGS000003_hmPOS_GRCh38\.txt\.gz"):
        kept.files_of(given)


@pytest.mark.parametrize("given", ["nowhere.txt", "own/*.bed", "@no_list.txt", "PGS1"])
def test_a_file_that_is_not_there_is_named(home: Path, given: str) -> None:
    with pytest.raises(InputMissing, match=given.strip("@*").rpartition("/")[2].replace("*", ".")):
        LocalFiles.below(home, Build.GRCH38).files_of([Path(given)])


def test_a_folder_without_scoring_files_is_named(home: Path) -> None:
    (home / "empty").mkdir()
    with pytest.raises(InputMissing, match="empty"):
        LocalFiles.below(home, Build.GRCH38).files_of([home / "empty"])


@pytest.mark.parametrize("told", ["{md5}", "{md5}  P.txt\n"])
def test_a_file_with_the_md5_told_beside_it_is_read(tmp_path: Path, told: str) -> None:
    file = tmp_path / "P.txt"
    file.write_text(ROWS)
    (tmp_path / "P.txt.md5").write_text(told.format(md5=hashlib.md5(ROWS.encode(), usedforsecurity=False).hexdigest()))
    assert [each.name for each in Library(ObjectStore(tmp_path / "store")).load(file)] == ["P"]


@pytest.mark.parametrize("told", ["", "d41d8cd98f00b204e9800998ecf8427e  P.txt\n"])
def test_a_file_of_another_md5_is_broken(tmp_path: Path, told: str) -> None:
    """Red on: core/catalog/local_files.py: `if expected != [found]:` -> `if False:`."""
    file = tmp_path / "P.txt"
    file.write_text(ROWS)
    (tmp_path / "P.txt.md5").write_text(told)
    with pytest.raises(ScoringFileBroken, match=r"P\.txt\.md5 says .*fetch both again"):
        Library(ObjectStore(tmp_path / "store")).load(file)
