"""Content keys: equal exactly for equal work, and the same on every machine for ever."""

from __future__ import annotations

import hashlib
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluiceway.core.errors import NotCanonical
from sluiceway.core.provenance.key import canonical_json, content_key

WORK: dict[str, Any] = {
    "kind": "score",
    "inputs": {"panel": "sha256:aa", "file": "sha256:bb"},
    "parameters": {"missing": "mean", "min_overlap": 0.75},
    "modules": {"sluiceway.core.genetics.score": "sha256:cc"},
    "environment": {"polars": "2.1.0"},
}


def key(**changed: Any) -> str:
    work = WORK | changed
    return content_key(work.pop("kind"), **work)


def test_a_golden_key_never_changes() -> None:
    assert key() == "sha256:a373645b091adbb400384714c405b93ab709b96efc97b1e40aae25738761bb87"


def test_a_key_is_the_digest_of_the_form_that_is_written_down() -> None:
    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value.encode())) + value.encode()

    preimage = (
        text("sluiceway content key v1")
        + text("count")
        + struct.pack("<Q", 1)
        + text("table")
        + text("sha256:00")
        + text('{"rows":3}')
        + struct.pack("<Q", 0) * 2
    )
    made = content_key("count", inputs={"table": "sha256:00"}, parameters={"rows": 3}, modules={}, environment={})
    assert made == f"sha256:{hashlib.sha256(preimage).hexdigest()}"


@pytest.mark.parametrize(
    "changed",
    [
        {"kind": "scores"},
        {"inputs": {"panel": "sha256:aa"}},
        {"inputs": {"panel": "sha256:bb", "file": "sha256:aa"}},
        {"inputs": {"panelsha256:": "aa", "file": "sha256:bb"}},
        {"parameters": {"missing": "zero", "min_overlap": 0.75}},
        {"parameters": {"missing": "mean", "min_overlap": 1}},
        {"parameters": {"missing": "mean", "min_overlap": 0.75, "more": None}},
        {"modules": {"sluiceway.core.genetics.score": "sha256:cd"}},
        {"modules": {}},
        {"environment": {"polars": "2.1.1"}},
        {"modules": {}, "environment": {"sluiceway.core.genetics.score": "sha256:cc", "polars": "2.1.0"}},
    ],
    ids=str,
)
def test_any_difference_makes_another_key(changed: dict[str, Any]) -> None:
    assert key(**changed) != key()


def test_the_order_in_which_things_are_named_does_not_matter() -> None:
    assert key(inputs=dict(reversed(WORK["inputs"].items()))) == key()
    assert key(parameters=dict(reversed(WORK["parameters"].items()))) == key()


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
names = st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=3)
work = st.tuples(st.text(max_size=3), names, st.dictionaries(st.text(max_size=3), json, max_size=3), names, names)


@given(work, work)
def test_two_pieces_of_work_share_a_key_only_if_they_are_the_same(first: Any, second: Any) -> None:
    def made(each: Any) -> str:
        return content_key(each[0], inputs=each[1], parameters=each[2], modules=each[3], environment=each[4])

    same = first[:2] + first[3:] == second[:2] + second[3:] and canonical_json(first[2]) == canonical_json(second[2])
    assert (made(first) == made(second)) is same


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"x": float("nan")}, "parameters.x"),
        ({"x": [1, float("inf")]}, r"parameters.x\[1\]"),
        ({"x": {1: "a"}}, "parameters.x"),
        ({"x": {"y": {1, 2}}}, r"parameters.x.y"),
        ({"x": b"bytes"}, "parameters.x"),
    ],
    ids=str,
)
def test_what_json_cannot_hold_is_refused_with_its_place(value: Any, where: str) -> None:
    with pytest.raises(NotCanonical, match=f"^{where} holds"):
        key(parameters=value)
