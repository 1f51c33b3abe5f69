"""Files that cannot be read: each ends as one error with its one reason, and its line where there is one."""

from __future__ import annotations

import contextlib
import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluiceway.core.catalog.scoring_file import read_scoring_file
from sluiceway.core.errors import ScoringFileBroken
from tests.core.catalog.files import HARMONISED, HEADER, PLAIN, text_of, write

TEXT = text_of([PLAIN, {**PLAIN, "chr_position": "1001"}], HEADER).encode()
PACKED = gzip.compress(TEXT)
NO_WEIGHT = {key: value for key, value in PLAIN.items() if key != "effect_weight"}


def why(path: Path, *, md5: str | None = None) -> tuple[str, int | None]:
    with pytest.raises(ScoringFileBroken) as broken:
        read_scoring_file(path, md5=md5)
    assert broken.value.path == path
    return broken.value.reason, broken.value.line


@pytest.mark.parametrize(
    ("content", "reason", "line"),
    [
        (b"", "it is empty", None),
        (b"\n\n", "it is empty", None),
        (gzip.compress(b""), "it is empty", None),
        (b"#pgs_id=PGS1\n", "it has a header but no table", None),
        (b"#pgs_id=PGS1\n" + TEXT.splitlines(keepends=True)[3], "it has a header but no rows", None),
        (PACKED[:-20], "its gzip stream ends too early", None),
        (PACKED[:40] + b"\x00\xff\x00\xff" + PACKED[44:], "it cannot be read", None),
        (b"\x1f\x8bnonsense", "it cannot be read", None),
        (TEXT.replace(b"\t1001", b"\t\xff\xfe"), "it is not UTF-8 text", 6),
        (b"#citation=Gonz\xe1lez\n" + TEXT, "its header is not UTF-8 text", None),
        (TEXT.decode().encode("utf-16"), "", None),
        (TEXT.replace(b"0.5\n1", b"0.5\tx\n1"), "the line has 6 fields, but there are 5 columns", 5),
        (TEXT.replace(b"chr_name", b"effect_weight"), "the column effect_weight is there twice", 4),
        (TEXT.replace(b"effect_weight", b"").replace(b"0.5", b"0.1"), "a column that has values has no name", None),
    ],
)
def test_a_file_that_is_no_table_says_why(tmp_path: Path, content: bytes, reason: str, line: int | None) -> None:
    path = tmp_path / "score.txt"
    path.write_bytes(content)
    said, where = why(path)
    assert said.startswith(reason)
    assert where == line


def test_a_file_that_is_not_there_or_a_folder_says_so(tmp_path: Path) -> None:
    assert why(tmp_path / "absent.txt")[0].startswith("it cannot be read: [Errno 2]")
    assert why(tmp_path)[0].startswith("it cannot be read: [Errno 21]")


def test_a_file_with_another_md5_is_refused_and_one_with_its_own_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "score.txt", PLAIN)
    said, _ = why(path, md5="0" * 32)
    assert said.startswith("its MD5 is ")
    assert said.endswith(f"but the catalogue says {'0' * 32}")
    assert read_scoring_file(path, md5=said.split()[3].rstrip(",").upper())


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"rsID": "rs1", "effect_weight": "1"}, "it has no column effect_allele"),
        ({"ID": "1:1:A:C", "effect_allele": "A", "effect_weight": "1"}, "it has neither the column rsID nor both"),
        ({"chr_name": "1", "effect_allele": "A", "effect_weight": "1"}, "it has neither the column rsID nor both"),
        (NO_WEIGHT, "it has no column of weights"),
        ({**NO_WEIGHT, "dosage_1_weight": "1"}, "it has dosage_1_weight, but weights by dosage need all three"),
        ({**PLAIN, "dosage_0_weight": "1", "dosage_2_weight": "1"}, "it has dosage_0_weight and dosage_2_weight, but"),
        ({**PLAIN, "chr_name": "", "rsID": ""}, "no row says which variant it is about"),
    ],
)
def test_a_table_that_lacks_what_every_score_needs_says_what(tmp_path: Path, row: dict[str, str], reason: str) -> None:
    assert why(write(tmp_path / "score.txt", row))[0].startswith(reason)


def test_a_harmonised_header_over_a_table_that_is_not_is_refused(tmp_path: Path) -> None:
    said, _ = why(write(tmp_path / "score.txt", {**PLAIN, "hm_chr": "1"}, header=HARMONISED))
    assert said == "its header says that it is harmonised, but it lacks the column hm_chr or hm_pos"


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"effect_weight": "0,5"}, "effect_weight is '0,5', which is no number"),
        ({"effect_weight": "-"}, "effect_weight is '-', which is no number"),
        ({"effect_weight": "inf"}, "effect_weight is infinite"),
        ({"effect_weight": "1e999"}, "effect_weight is infinite"),
        ({"is_dominant": "True", "is_recessive": "True"}, "a row is both dominant and recessive"),
        ({"is_dominant": "maybe"}, "is_dominant is 'maybe', which is neither true nor false"),
        ({"is_interaction": "2"}, "is_interaction is '2', which is neither true nor false"),
    ],
)
def test_a_row_that_cannot_be_understood_is_named_by_its_line(
    tmp_path: Path, wrong: dict[str, str], reason: str
) -> None:
    assert why(write(tmp_path / "score.txt", PLAIN, {}, {**PLAIN, **wrong}, PLAIN)) == (reason, 7)


def test_a_row_of_nobody_in_a_table_of_several_scores_is_named(tmp_path: Path) -> None:
    rows = [{**PLAIN, "accession": name} for name in ("PGS1", "")]
    assert why(write(tmp_path / "score.txt", *rows, header={})) == (
        "the row has no accession, so whose it is is not known",
        3,
    )


@given(st.binary(max_size=200), st.integers(0, len(TEXT)), st.booleans())
@settings(deadline=None, max_examples=150)
def test_no_bytes_end_as_anything_but_a_score_or_this_error(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, at: int, packed: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "noise.txt"
    whole = TEXT[:at] + noise + TEXT[at:]
    path.write_bytes(gzip.compress(whole) if packed else whole)
    with contextlib.suppress(ScoringFileBroken):
        assert read_scoring_file(path)
