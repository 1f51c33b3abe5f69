"""Settings: one class, one template, one clear error."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sluiceway.core import settings
from sluiceway.core.errors import SettingsInvalid
from tests.conftest import ROOT, User

TEMPLATE = (ROOT / ".env.template").read_text()


def documented() -> dict[str, str]:
    """Every setting of the template with the comment above it."""
    blocks = re.findall(r"((?:^# .*\n)+)# (SLUICEWAY_\w+)=", TEMPLATE, re.MULTILINE)
    return {name: comment.replace("\n# ", " ").removeprefix("# ").strip() for comment, name in blocks}


def test_the_template_documents_each_setting_and_no_other() -> None:
    assert list(documented()) == [f"SLUICEWAY_{name.upper()}" for name in settings.Settings.model_fields]


@pytest.mark.parametrize("name", settings.Settings.model_fields)
def test_the_template_says_of_a_setting_what_the_class_says(name: str) -> None:
    description = settings.Settings.model_fields[name].description
    assert description is not None
    assert documented()[f"SLUICEWAY_{name.upper()}"].startswith(description)


@pytest.mark.parametrize("name", ["output_dir", "devcluster_dir", "log_level"])
def test_a_default_that_the_template_shows_is_the_real_one(name: str) -> None:
    shown = re.search(rf"^# SLUICEWAY_{name.upper()}=(.*)$", TEMPLATE, re.MULTILINE)
    assert shown is not None
    assert shown[1] == str(settings.Settings.model_fields[name].default)


def test_a_setting_comes_from_dotenv_in_the_working_directory(user: User) -> None:
    user.write(".env", "SLUICEWAY_OUTPUT_DIR=elsewhere\nOTHER=1\n")
    assert settings.load().output_dir == Path("elsewhere")


def test_the_environment_wins_over_dotenv(user: User) -> None:
    user.write(".env", "SLUICEWAY_OUTPUT_DIR=elsewhere\n")
    user.export("SLUICEWAY_OUTPUT_DIR", "here")
    assert settings.load().output_dir == Path("here")


@pytest.mark.parametrize("value", ["LOUD", "info", ""])
def test_a_bad_value_is_named_with_its_setting(user: User, value: str) -> None:
    user.export("SLUICEWAY_LOG_LEVEL", value)
    with pytest.raises(SettingsInvalid, match=rf"SLUICEWAY_LOG_LEVEL='{value}'.*\.env\.template"):
        settings.load()
