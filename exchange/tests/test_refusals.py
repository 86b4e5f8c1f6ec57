import re
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

PAGE = (FOLDER / "refusals/codes.md").read_text()
MIGRATION, _, CLASSES = PAGE.partition("### 7.3")
CLASS_OF_LINE = {
    "**rejected, fix input**": Refused,
    "**rejected, account state**": Refused,
    "**rejected, blocked**": Refused,
    "**rejected, retry soon**": RetrySoon,
    "**duplicate**": Duplicate,
    "**unknown**": OutcomeUnknown,
}
# Codes that the page names in one class but for some words only; each has its own test below.
BY_WORDS = {"101400", "100421", "80001", "100410", "109429", "100409"}


def codes_in(text: str) -> list[str]:
    """Return the codes of a line of the page, with ranges such as 110411–110414 written out."""
    found = []
    for first, last in re.findall(r"(?<![\d/])(\d{5,6})(?:–(\d{5,6}))?", text.replace("/", " ")):
        found += [str(code) for code in range(int(first), int(last or first) + 1)]
    return found


def page_rows() -> list[tuple[type, str]]:
    rows = []
    for line in CLASSES.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] in CLASS_OF_LINE:
            rows += [(CLASS_OF_LINE[cells[0]], code) for code in codes_in(cells[1]) if code not in BY_WORDS]
    return rows


def test_the_page_was_read():
    assert len(page_rows()) > 80
    assert len(codes_in(MIGRATION)) > 15


@pytest.mark.parametrize(("expected", "code"), page_rows(), ids=str)
def test_a_code_has_the_class_that_the_page_gives_it(expected, code):
    assert issubclass(REFUSALS[code].error, expected)
    if expected is Refused:
        assert REFUSALS[code].error is Refused, "a plain refusal must not be taken for something softer"


@pytest.mark.parametrize("code", sorted(set(codes_in(PAGE))))
def test_every_code_of_the_page_old_and_new_is_in_the_table_with_advice(code):
    assert REFUSALS[code].advice.endswith(".")
    assert len(REFUSALS[code].advice) > 20


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("80014", "109400"),
        ("80001", "109400"),
        ("109414", "109400"),
        ("80020", "109403"),
        ("40029", "109403"),
        ("80019", "109423"),
        ("80012", "109500"),
        ("80016", "109421"),
        ("80018", "109422"),
        ("80017", "109420"),
        ("100409", "109429"),
        ("100410", "109429"),
    ],
)
def test_an_old_number_means_what_the_new_one_means(old, new):
    assert REFUSALS[old] == REFUSALS[new]


@pytest.mark.parametrize(
    ("code", "words", "deed", "expected"),
    [
        ("101400", "clientOrderID unique check failed", Deed.SUBMIT, Duplicate),
        ("101400", "The minimum order amount is 0.0001 BTC.", Deed.SUBMIT, Refused),
        ("100421", "Null timestamp or timestamp mismatch", Deed.SUBMIT, ClockSkew),
        ("100421", "This pair is currently restricted from API trading", Deed.SUBMIT, Refused),
        ("109400", "timestamp is invalid", Deed.READ, ClockSkew),
        ("80014", "timestamp is invalid", Deed.READ, ClockSkew),
        ("109400", "Invalid parameters, err:startTs: field is required", Deed.READ, Refused),
        ("109400", "order not exist", Deed.READ, OrderNotFound),
        ("109400", "CATI-USDT,symbol not exist, please verify it", Deed.READ, Refused),
        ("80001", "assets being processed", Deed.SUBMIT, RetrySoon),
        ("101209", "The same order number can only be submitted once within 1 second", Deed.SUBMIT, Duplicate),
        ("101209", "maximum position value for this leverage is 50000 USDT", Deed.SUBMIT, Refused),
        ("109201", "", Deed.SUBMIT, Duplicate),
        ("109201", "", Deed.CANCEL, RetrySoon),
        ("80012", '{"Code":101253,"Msg":"margin is not enough"}', Deed.SUBMIT, Refused),
        ("80012", "service busy", Deed.SUBMIT, OutcomeUnknown),
        ("109500", "The current system is busy, please try again later", Deed.SUBMIT, OutcomeUnknown),
        ("100400", "Gateway timeout", Deed.SUBMIT, OutcomeUnknown),
        ("100404", "the order is not exist or not found", Deed.READ, OrderNotFound),
        ("100404", "api not exist", Deed.READ, Refused),
        ("109422", "position not exist", Deed.SUBMIT, Refused),
        ("109422", "order is already filled", Deed.CANCEL, AlreadyFinal),
        ("109421", "order not exist", Deed.CANCEL, OrderNotFound),
    ],
)
def test_the_words_decide_where_a_number_means_two_things(code, words, deed, expected):
    assert type(error_for(code, words, deed=deed)) is expected


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
