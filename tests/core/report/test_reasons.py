from __future__ import annotations

import pytest

from sluiceway.core.genetics.distributions import QualityStatus
from sluiceway.core.genetics.match import Reason
from sluiceway.core.report.reasons import OTHER, REASONS, STATUSES, wording


@pytest.mark.parametrize("reason", Reason)
def test_each_reason_of_the_matcher_has_words_and_the_matchers_status(reason: Reason) -> None:
    assert wording(reason.name.lower()).status == reason.status


def test_no_words_are_kept_for_a_reason_that_is_never_given() -> None:
    assert set(REASONS) == {reason.name.lower() for reason in Reason}


def test_each_status_of_a_score_has_words() -> None:
    assert set(STATUSES) == set(QualityStatus)


def test_a_reason_that_nobody_knows_is_told_by_its_name() -> None:
    assert (wording("no_such_thing").title, wording("no_such_thing").status) == ("no such thing", OTHER)
