"""The error tree: shown in its docstring, every class used, every error a letter that survives pickling."""

from __future__ import annotations

import inspect
import pickle
import re
from datetime import timedelta
from pathlib import Path, PurePosixPath

import pytest

from sluiceway.core import errors
from sluiceway.core.errors import CommandFailed, SluicewayError
from sluiceway.core.remote.shell import Command, Completed
from tests.conftest import ROOT

COMPLETED = Completed(
    machine="login",
    command=Command.of("sbatch", "my job.sh"),
    exit_code=3,
    signal=None,
    stdout=b"out",
    stderr=b"Invalid account",
)
VALUES: dict[str, object] = {
    "machine": "ada@login:22",
    "reason": "no route to host",
    "attempted": "sbatch job.sh",
    "known_hosts": "~/.ssh/known_hosts",
    "user": "ada",
    "tried": "key /k",
    "limit": timedelta(seconds=5),
    "completed": COMPLETED,
    "source": PurePosixPath("/a b"),
    "target": Path("/c"),
    "problems": ("SLUICEWAY_HOME=''",),
    "name": "Dev",
    "where": "parameters.maf",
    "value": "nan",
    "text": "11:x",
    "line": 12,
    "what": "the script",
    "path": Path("/s.sh"),
    "flow": Path("/one/flows/f.py"),
    "core": Path("/two/core"),
    "packages": ("munge",),
    "port": 6817,
    "purpose": "slurmctld",
    "folder": Path("/var/x"),
    "failed": 3,
    "home": Path("/home/ada/.local/share/sluiceway"),
    "holder": "process 7 on node1 (score)",
    "instead": "choose another with --port",
    "daemon": "munged",
    "log": Path("/var/x/log"),
    "tail": "bad key",
    "tables": "quality, scores",
    "scores": ("PGS000001",),
    "program": "plink2",
    "build": "GRCh38",
    "place": "west",
    "kind": "mine.Odd",
    "run": "3f2a91c07d5be0411a2b",
    "why": "exit code 3",
    "option": "memory",
    "url": "sqlite:///x",
    "failures": 3,
    "owner": "ada",
    "epoch": 2,
    "key": "sha256:00",
    "session": "sw-session-3f2a-s1",
    "launcher": "dask",
    "release": "2026-11-20",
    "tries": 4,
    "dataset": "prs-percentiles",
    "findings": ("incomplete: 3 of 10 scores",),
    "expected": "4f2a",
    "found": "another commit came first",
}


def tree() -> list[type[SluicewayError]]:
    return [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, SluicewayError)]


def letters() -> list[type[SluicewayError]]:
    return [each for each in tree() if each.__str__ is not Exception.__str__]


def shown() -> dict[str, int]:
    """Each class that the docstring shows, with its indent."""
    lines = (errors.__doc__ or "").splitlines()
    found = (re.match(r"([\s│├└─]*)([A-Z]\w+)(?:\s{2,}|$)", line) for line in lines)
    return {each[2]: len(each[1]) for each in found if each}


def example(kind: type[SluicewayError]) -> SluicewayError:
    return kind(**{name: VALUES[name] for name in inspect.signature(kind).parameters})


@pytest.mark.parametrize("kind", tree(), ids=lambda kind: kind.__name__)
def test_the_docstring_shows_every_class_under_its_parent(kind: type[SluicewayError]) -> None:
    depth = shown()
    assert kind.__name__ in depth
    parent = kind.__mro__[1]
    if issubclass(parent, SluicewayError):
        assert depth[kind.__name__] == depth[parent.__name__] + 4


@pytest.mark.parametrize("kind", letters(), ids=lambda kind: kind.__name__)
def test_an_error_names_its_values_and_what_to_do(kind: type[SluicewayError]) -> None:
    text = str(example(kind))
    assert len(text) > 40
    assert "None" not in text


@pytest.mark.parametrize("kind", tree(), ids=lambda kind: kind.__name__)
def test_an_error_survives_pickling_with_its_values(kind: type[SluicewayError]) -> None:
    error = example(kind)
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(again) is kind
    assert vars(again) == vars(error)
    assert str(again) == str(error)


@pytest.mark.parametrize("kind", tree(), ids=lambda kind: kind.__name__)
def test_every_class_is_raised_somewhere_or_has_children_that_are(kind: type[SluicewayError]) -> None:
    ours = [
        path for folder in ("core", "blocks", "tasks", "flows", "deployments") for path in (ROOT / folder).rglob("*.py")
    ]
    code = "\n".join(path.read_text() for path in ours if path.parent.name != "trouble")
    assert kind.__subclasses__() or re.search(rf"\b{kind.__name__}\(", code)


def test_a_failed_command_shows_the_last_lines_it_said() -> None:
    said = "\n".join(f"line {number}" for number in range(100)).encode()
    failed = CommandFailed(
        machine="login",
        completed=Completed(
            machine="login", command=Command.of("make"), exit_code=None, signal="KILL", stdout=b"", stderr=said
        ),
    )
    assert "signal KILL" in str(failed)
    assert "line 99" in str(failed)
    assert "line 79" not in str(failed)


def test_exit_codes_tell_kinds_of_trouble_apart() -> None:
    kinds: list[type[SluicewayError]] = [SluicewayError, *SluicewayError.__subclasses__()]
    codes = {kind.__name__: kind.exit_code for kind in kinds}
    assert codes == {
        "SluicewayError": 1,
        "ClaimLost": 1,
        "EnvironmentUnusable": 1,
        "LedgerBroken": 1,
        "PeerFailed": 1,
        "AnswerUnreadable": 1,
        "CallRaised": 1,
        "OutcomeBroken": 1,
        "VerificationFailed": 1,
        "NothingScored": 1,
        "OthersDisagree": 1,
        "PublicationRefused": 1,
        "RunFailed": 1,
        "StorageFailed": 1,
        "UsageProblem": 2,
        "DevclusterError": 3,
        "RemoteError": 4,
    }
