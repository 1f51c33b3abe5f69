"""What a payload tells: any of the kinds, in pieces cut anywhere; what is none of them is told and harms nothing."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path

import pytest

from sluiceway.core.runs import messages, payload
from sluiceway.core.runs.messages import Artifact, Lines, LogLine, Message, Metric, Progress, Result, Unreadable
from tests.conftest import User

SAID: list[Message] = [
    Metric(name="loss", value=0.25, step=3),
    Progress(done=3, of=22, what="chromosomes"),
    Artifact(name="page", markdown="# é"),
    Artifact(name="rows", table=({"a": 1}, {"a": None})),
    Result(value={"n": [1, None]}),
    LogLine(text="careful", level="warning"),
]


def file_of(said: list[Message]) -> bytes:
    return b"".join(json.dumps(messages.as_json(each)).encode() + b"\n" for each in said)


def test_what_the_helper_writes_is_what_is_read(user: User) -> None:
    user.export("SLUICEWAY_MESSAGES", str(user.folder / "told"))
    payload.metric("loss", 0.25, step=3)
    payload.progress(3, 22, what="chromosomes")
    payload.artifact("page", markdown="# é")
    payload.artifact("rows", table=[{"a": 1}, {"a": None}])
    payload.result({"n": [1, None]})
    payload.log("careful", level="warning")
    lines = (user.folder / "told").read_bytes().splitlines()
    assert [messages.parse(each) for each in lines] == SAID


def test_outside_of_a_run_the_helper_says_nothing_and_knows_nothing() -> None:
    payload.progress(1, 2)
    assert payload.context()["inputs"] == {}


def test_the_documented_line_of_shell_is_a_message(tmp_path: Path) -> None:
    (line,) = (each.strip() for each in (payload.__doc__ or "").splitlines() if "printf" in each)
    subprocess.run(["sh", "-c", line], env={"SLUICEWAY_MESSAGES": str(tmp_path / "told")}, check=True)
    assert messages.parse((tmp_path / "told").read_bytes().rstrip()) == Progress(done=3, of=22)


def test_the_documented_python_is_a_payload(user: User) -> None:
    text = (payload.__doc__ or "").partition("PYTHONPATH::")[2].partition("Each call")[0]
    code = "\n".join(line[4:] for line in text.splitlines()).replace("sluiceway_payload", payload.__name__)
    user.write("context", '{"inputs": {"a": "/a"}}')
    user.export("SLUICEWAY_CONTEXT", str(user.folder / "context"))
    user.export("SLUICEWAY_MESSAGES", str(user.folder / "told"))
    exec(compile(code, "documented", "exec"), {})  # noqa: S102
    assert [json.loads(each)["kind"] for each in (user.folder / "told").read_text().splitlines()] == [
        "progress",
        "result",
    ]


def test_lines_cut_anywhere_are_the_lines_that_were_written() -> None:
    chance, content = random.Random(5), file_of(SAID)
    for _ in range(200):
        places = sorted(chance.randrange(len(content)) for _ in range(chance.randrange(9)))
        lines = Lines()
        pieces = [content[a:b] for a, b in zip([0, *places], [*places, None], strict=True)]
        found = [messages.parse(line) for piece in pieces for line in lines.feed(piece)]
        assert (found, list(lines.end())) == (SAID, [])


def test_half_a_line_waits_for_its_other_half_and_counts_at_the_end() -> None:
    lines = Lines()
    assert list(lines.feed(b'one\n{"kind": "pro')) == [b"one"]
    assert list(lines.feed(b"")) == []
    assert list(lines.end()) == [b'{"kind": "pro']
    assert list(lines.end()) == []


def test_a_line_without_end_is_cut() -> None:
    lines = Lines()
    found = [len(line) for _ in range(40) for line in lines.feed(b"x" * 100_000)]
    assert found
    assert max(found) < 1_300_000


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"Segmentation fault", "not JSON"),
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"kind": "metric", "name": "x", "value": NaN}', "not JSON"),
        (b"[]", "none of the kinds"),
        (b'{"kind": "unheard"}', "none of the kinds"),
        (b'{"kind": ["metric"]}', "none of the kinds"),
        (b'{"kind": "metric", "name": "x"}', "value"),
        (b'{"kind": "metric", "name": "x", "value": "high"}', "'high' is not int or float"),
        (b'{"kind": "metric", "name": "x", "value": true}', "True is not int or float"),
        (b'{"kind": "progress", "done": 1, "of": 2, "colour": 3}', "colour"),
        (b'{"kind": "artifact", "name": "x"}', "a text or a table"),
        (b'{"kind": "artifact", "name": "x", "table": [1]}', "1 is not dict"),
        (b'{"kind": "log", "text": "x", "level": "loud"}', "'loud' is none of"),
    ],
)
def test_a_line_that_is_no_message_is_told_with_its_reason(line: bytes, reason: str) -> None:
    message = messages.parse(line)
    assert isinstance(message, Unreadable)
    assert reason in message.reason
