"""`sluiceway panel`: what people and programs are told of a panel, and how it says no."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sluiceway import cli
from tests.panels import Row, write_pgen

PEOPLE = "#IID SEX SuperPop Unrelated\na 2 NORTH 1\nb 1 NORTH 1\nc 2 SOUTH 1\nd 0 SOUTH 0"
ROWS = [
    Row(place="11:69000000", ref="A", alt="G", calls="0/1 0/0 . 1/1"),
    Row(place="11:69500000", ref="A", alt="G,T", calls="0/1 2/2 0/0 0/0"),
    Row(place="X:9000000", ref="A", alt="G", calls="0/1 1/1 0/0 1/1"),
    Row(place="KI270:5", ref="A", alt="G", calls="0/0 0/0 0/0 0/0"),
]

Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def prefix(tmp_path: Path) -> str:
    return str(write_pgen(tmp_path / "toy", PEOPLE, ROWS))


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Say:
    """Runs `sluiceway panel ...` and gives exit code, output and remarks."""
    monkeypatch.setenv("SLUICEWAY_CACHE_DIR", str(tmp_path / "cache"))

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main(["panel", *arguments])
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def test_prepare_makes_the_table_below_the_cache(say: Say, prefix: str, tmp_path: Path) -> None:
    code, told, _ = say("prepare", prefix, "--json")
    facts = json.loads(told)
    assert (code, facts["entries"], facts["variants"], facts["left_out"]) == (0, 4, 4, 1)
    assert Path(facts["folder"]).parent == tmp_path / "cache" / "panels"


def test_info_counts_people_and_variants(say: Say, prefix: str) -> None:
    facts = json.loads(say("info", prefix, "--json", "--build", "GRCh38")[1])
    assert facts["populations"] == {"NORTH": {"all": 2, "unrelated": 2}, "SOUTH": {"all": 2, "unrelated": 1}}
    assert (facts["sexes"], facts["unrelated"]) == ({"women": 2, "men": 1, "unknown": 1}, 3)
    assert (facts["multiallelic"], facts["ploidies"]) == (1, {"AUTOSOME": 2, "X": 1, "Y": 0, "MT": 0})
    assert facts["missing_rate"] == pytest.approx(1 / 12)
    assert (facts["build"], facts["population_column"]) == ("GRCh38", "SuperPop")


def test_info_says_it_to_people_too(say: Say, prefix: str) -> None:
    code, told, _ = say("info", prefix)
    assert code == 0
    for text in ("NORTH: all: 2, unrelated: 2", "not told", "by the column Unrelated"):
        assert text in told


def test_samples_are_lines_that_can_be_piped(say: Say, prefix: str) -> None:
    lines = say("samples", prefix, "--population", "SOUTH")[1].splitlines()
    assert [line.split("\t")[0] for line in lines] == ["sample", "c", "d"]
    assert [each["sample"] for each in json.loads(say("samples", prefix, "--json")[1])] == list("abcd")


def test_variants_of_a_region_have_their_frequencies(say: Say, prefix: str) -> None:
    found = json.loads(say("variants", prefix, "--region", "11:69M-69.2M", "--json")[1])
    assert [(each["id"], each["frequency"], each["missing"]) for each in found] == [("v0", 0.25, 1)]
    assert len(say("variants", prefix, "--region", "11")[1].splitlines()) == 4
    assert len(say("variants", prefix, "--region", "7")[1].splitlines()) == 1


def test_genotypes_are_a_column_per_person_and_long_for_programs(say: Say, prefix: str) -> None:
    lines = say("genotypes", prefix, "--region", "11:69M-69M", "--sample", "d", "--sample", "c")[1].splitlines()
    assert lines == ["id\tchromosome\tposition\tref\talt\td\tc", "v0\t11\t69000000\tA\tG\t2\t"]
    found = json.loads(say("genotypes", prefix, "--region", "X", "--json")[1])
    assert [(each["sample"], each["copies"]) for each in found] == [("a", 1), ("b", 2), ("c", 0), ("d", 2)]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("variants", "--region", "12:x"), "is no region"),
        (("samples", "--population", "WEST"), "there are NORTH, SOUTH"),
        (("samples", "--labels", "Tribe"), "it has no column 'Tribe'"),
        (("genotypes", "--region", "X", "--sample", "zoe"), "the sample 'zoe' is not in it"),
        (("info", "--relatives", "nowhere"), "the list of relatives 'nowhere'"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_paragraph(
    say: Say, prefix: str, arguments: tuple[str, ...], reason: str
) -> None:
    code, told, remarks = say(arguments[0], prefix, *arguments[1:])
    assert (code, told) == (2, "")
    assert reason in " ".join(remarks.split())


def test_a_panel_that_is_not_there_has_exit_code_two(say: Say) -> None:
    assert say("info", "/nowhere/panel")[0] == 2
