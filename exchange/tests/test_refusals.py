import csv
from datetime import UTC, datetime

import pytest

from exchange.errors import (
    AlreadyFinal,
    Duplicate,
    OrderNotFound,
    OutcomeUnknown,
    RateLimited,
    Refused,
    RetrySoon,
)
from exchange.refusals import REFUSALS, UNHEARD_OF, ClockSkew, Deed, classify, error_for, unblocked_at
from exchange.tests.recordings import FOLDER

CLASSES = {
    "refused": Refused,
    "rate limited": RateLimited,
    "retry soon": RetrySoon,
    "clock": ClockSkew,
    "duplicate": Duplicate,
    "unknown": OutcomeUnknown,
    "not found": OrderNotFound,
    "final": AlreadyFinal,
}


def table(name: str) -> list[dict[str, str]]:
    with (FOLDER / "refusals" / name).open(newline="") as file:
        return list(csv.DictReader(file))


CODES, MOVED = table("codes.csv"), table("moved.csv")


def told(row: dict[str, str]) -> str:
    return " ".join(filter(None, (row["code"], row["family"], row["deed"], row["words"][:40])))


def test_the_recorded_codes_and_ours_are_the_same_of_every_family():
    assert len({row["code"] for row in CODES}) == 115
    assert {row["code"] for row in CODES} == set(REFUSALS)
    assert {row["family"] for row in CODES} == {"gateway", "old", "new", "trade", "spot", "coin-m", "websocket"}
    assert {row["class"] for row in CODES} == set(CLASSES)


@pytest.mark.parametrize("row", CODES, ids=told)
def test_a_code_with_its_words_is_of_its_class_and_no_softer_one(row):
    error = error_for(row["code"], row["words"], deed=Deed(row["deed"]))
    assert type(error) is CLASSES[row["class"]]


@pytest.mark.parametrize("row", [row for row in CODES if row["advice_says"]], ids=told)
def test_a_code_tells_the_trader_what_to_do(row):
    advice = classify(row["code"], row["words"], Deed(row["deed"])).advice
    assert advice.endswith(".")
    assert row["advice_says"] in advice


@pytest.mark.parametrize("row", MOVED, ids=lambda row: f"{row['old']} {row['new']}")
def test_an_old_number_means_what_the_new_one_means(row):
    assert REFUSALS[row["old"]] == REFUSALS[row["new"]]


@pytest.mark.parametrize("code", ["109421", "80016", "109422", "80018"])
def test_a_submitted_order_is_never_called_missing_or_final_by_its_own_answer(code):
    assert classify(code, "", Deed.SUBMIT).error is OutcomeUnknown


@pytest.mark.parametrize("code", ["999999", "1", "-1", "?", "101999"])
@pytest.mark.parametrize("deed", list(Deed))
def test_a_code_that_nobody_knows_proves_nothing(code, deed):
    assert classify(code, "some words", deed) == UNHEARD_OF
    assert UNHEARD_OF.error is OutcomeUnknown


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            "code:100410:The endpoint trigger frequency limit rule is currently in the disabled period and will be "
            "unblocked after 1727193814249",
            datetime(2024, 9, 24, 16, 3, 34, 249000, tzinfo=UTC),
        ),
        (
            "over 20 error code:100202 requests within 480000 ms for this api, please verify and fix it ,"
            "can retry after time: 1727193970155",
            datetime(2024, 9, 24, 16, 6, 10, 155000, tzinfo=UTC),
        ),
        ("rate limited", None),
        ("can retry after time: 9999999999999", None),
        ("unblocked after 12345", None),
        ("order 1727193814249 unknown", None),
    ],
)
@pytest.mark.parametrize("code", ["100410", "109429", "100409"])
def test_a_rate_limit_says_until_when(code, words, expected):
    error = error_for(code, words, deed=Deed.READ)
    assert type(error) is RateLimited
    assert error.retry_at == unblocked_at(words) == expected


def test_the_error_tells_the_trader_what_to_do_and_what_bingx_said():
    error = error_for("101204", "Insufficient margin", deed=Deed.SUBMIT, http_status=200)
    assert error.code == "101204"
    assert error.http_status == 200
    assert error.message.startswith("Not enough money: add margin")
    assert "(BingX: Insufficient margin)" in error.message
