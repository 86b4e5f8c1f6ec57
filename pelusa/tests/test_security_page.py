"""docs/security.md has every property, and every test that it names exists."""

import re
from pathlib import Path

import pytest
from django.conf import settings

ROOT = Path(settings.BASE_DIR)
PAGE = (ROOT / "docs" / "security.md").read_text()
NAMED = sorted(set(re.findall(r"`((?:\w+/)+test_\w+\.py)(?:::(test_\w+))?`", PAGE)))


def test_s01_to_s30_have_a_row_each() -> None:
    assert re.findall(r"^\| (S\d\d) \|", PAGE, re.MULTILINE) == [f"S{number:02}" for number in range(1, 31)]


def test_a_property_without_a_test_says_why() -> None:
    for row in re.findall(r"^\| S\d\d \|.*", PAGE, re.MULTILINE):
        done, test = row.split("|")[2:4]
        assert test.strip() or len(done) > 60, row


@pytest.mark.parametrize(("file", "test"), NAMED, ids=lambda part: str(part))
def test_what_the_page_names_exists(file: str, test: str) -> None:
    source = (ROOT / file).read_text()
    assert not test or re.search(rf"^def {test}\(", source, re.MULTILINE)


def test_s25_every_library_is_pinned() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        lines = [line.partition("#")[0].strip() for line in (ROOT / name).read_text().splitlines()]
        assert all(re.fullmatch(r"[\w.-]+(\[[\w,]+\])?==[\w.]+", line) for line in lines if line)
