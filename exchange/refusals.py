"""What BingX's codes mean: may the act have happened, and what should the trader do.

Old and new numbers both occur (BingX renumbered on 2025-10-16, and its gateway kept the old ones), one number may mean
two things, and some refusals are told apart by their words only. A code that is not in the table proves nothing.
Source: https://bingx-api.github.io/docs-v3/#/en/Quick%20Start/Error%20Codes and section 7 of the project's fact page.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _

from exchange.errors import (
    AlreadyFinal,
    Duplicate,
    ExchangeError,
    OrderNotFound,
    OutcomeUnknown,
    RateLimited,
    Refused,
    RetrySoon,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Deed(StrEnum):
    """What was asked for: one code can prove different things of different deeds."""

    READ = "read"
    SUBMIT = "submit"
    CANCEL = "cancel"
    CHANGE = "change"


class ClockSkew(RetrySoon):
    """Refused because of the signed time stamp: our clock and theirs differ."""


class Refusal(NamedTuple):
    """One row of the table: the error to raise, and what to do about it."""

    error: type[ExchangeError]
    advice: str


_SIGNATURE = _("Check that the key's secret was pasted whole, without spaces.")
_PARAMETERS = _("BingX did not accept the request's values; read its words and check the strategy's settings.")
_FUNDS = _("Not enough money: add margin, use a smaller size, or free what pending orders hold.")
_POSITION_CAP = _("The position would pass the largest size that BingX allows: use a smaller size or a lower leverage.")
_LEVERAGE = _("BingX does not allow this leverage here: set a lower one.")
_NO_POSITION = _("There is no position to close: it was closed already, or never opened.")
_STOP_SIDE = _("The stop or target lies on the wrong side of the market price: check its distance.")
_STOP_EXISTS = _("A stop or target for the whole position exists already: cancel it first.")
_STOP_AMOUNT = _("Stops and targets together would cover more than the position: cancel or shrink some.")
_PRICE = _("The price is too far from the market: check the strategy's price and the symbol.")
_SUSPENDED = _("BingX has suspended this pair: wait, or switch the strategy off.")
_OFFLINE = _("This pair cannot be traded through the API: switch the strategy off.")
_ACCOUNT = _("BingX has restricted this account: ask its support.")
_TOO_MANY_ORDERS = _("Too many pending orders: cancel some.")
_MODE = _("BingX refuses to change the mode now: close the positions and cancel the pending orders first.")
_BUSY = _("BingX did not say whether it acted: the order is being looked for.")
_RATE = _("Too many requests: Pelusa waits until BingX opens again.")

_TABLE: list[tuple[type[ExchangeError], str, str]] = [
    (Refused, _SIGNATURE, "100001 100412"),
    (Refused, _("The API key is wrong or deleted: enter it again in the account."), "100413 100401"),
    (Refused, _("This server's address is not on the API key's list: add it at BingX."), "100419"),
    (
        Refused,
        _("The API key lacks the permission: allow trading for it at BingX (never withdrawal)."),
        "100004 100403",
    ),
    (
        Refused,
        _("BingX did not understand the request: report this to Pelusa's maintainers."),
        "100400 100404 80015 80403",
    ),
    (Refused, _PARAMETERS, "109400 80014 80001 109414 110400 110426"),
    (
        Refused,
        _("BingX refuses this in the account's present state: read its words."),
        "109430 104414 101434 102201",
    ),
    (Refused, _("BingX has no such symbol in this market: check the strategy's ticker."), "109425"),
    (Refused, _("Trading of this pair is paused: wait for BingX to open it."), "109415"),
    (Refused, _("This pair is not launched yet: wait for its start."), "109417"),
    (Refused, _OFFLINE, "109418 100490"),
    (
        Refused,
        _("BingX refused the order: it is below the minimum, or the pair is down; read its words."),
        "101400",
    ),
    (Refused, _("The order is below BingX's minimum: use a larger size."), "101202 110422 101485"),
    (
        Refused,
        _("Quantity or price has too many decimals, or the order is below 2 USDT: check the size."),
        "110425",
    ),
    (Refused, _PRICE, "110402 101211 100440"),
    (
        Refused,
        _("The price lies beyond the liquidation price: use a lower leverage or a nearer stop."),
        "101460 101461",
    ),
    (Refused, _("A reduce-only order may only shrink a position: there is none of that size."), "101290"),
    (Refused, _("A post-only order would have traded at once: move its price."), "101215"),
    (Refused, _STOP_SIDE, "110411 110412 110413 110414"),
    (Refused, _STOP_EXISTS, "110406 110407"),
    (
        Refused,
        _("BingX does not accept these trailing or activation values."),
        "110415 110418 110419 110420",
    ),
    (Refused, _STOP_AMOUNT, "110427 110428"),
    (Refused, _("This pair has no guaranteed stop: use an ordinary one."), "110284"),
    (Refused, _FUNDS, "101204 101206 101212 101253 110424 100202"),
    (Refused, _NO_POSITION, "101205 109420 80017"),
    (Refused, _("More was to be closed than the position holds: reconcile, then close the rest."), "110203"),
    (Refused, _POSITION_CAP, "101209 110287 101429 112414"),
    (Refused, _LEVERAGE, "101222 101201 101414"),
    (Refused, _SUSPENDED, "101415 110280"),
    (Refused, _TOO_MANY_ORDERS, "101419 80013 110206"),
    (Refused, _MODE, "101479 104103 104108 109424"),
    (Refused, _("BingX's risk control refuses this: ask its support."), "109403 80020 40029"),
    (Refused, _ACCOUNT, "100414 100441 101402"),
    (
        Refused,
        _("BingX wants the account verified first, or does not serve its region."),
        "101210 101483 101484 101424",
    ),
    (
        Refused,
        _("This market is closed at this hour: let the strategy trade in its hours only."),
        "101413 104424",
    ),
    (Refused, _("This pair may not be traded through the API, or too many orders are pending."), "100421"),
    (RateLimited, _RATE, "100410 109429 100409"),
    (RetrySoon, _("Funding is being settled: it is tried again in a moment."), "101214"),
    (RetrySoon, _("BingX is still processing the assets: it is tried again in a moment."), "101219"),
    (RetrySoon, _("BingX has paused this for a moment: it is tried again."), "101514 101515"),
    (Duplicate, _("An order with this id exists already: it is being looked for."), "101481 109201"),
    (OutcomeUnknown, _BUSY, "101500 109500 80012 100500 100503 110500 109701 109423 80019 106551 403 1006"),
    (
        OrderNotFound,
        _("BingX knows no such order; right after sending, its look-up may lag."),
        "109421 80016",
    ),
    (AlreadyFinal, _("The order is filled or cancelled already: its fate is being read."), "109422 80018"),
]

REFUSALS: dict[str, Refusal] = {
    code: Refusal(error, advice) for error, advice, codes in _TABLE for code in codes.split()
}
UNHEARD_OF = Refusal(
    OutcomeUnknown, _("BingX answered with a code that Pelusa does not know: the order is being looked for.")
)

_CLOCK = Refusal(ClockSkew, _("This server's clock and BingX's differ: set the clock by NTP."))
_LATE = Refusal(OutcomeUnknown, _BUSY)
_ONE_CANCEL = Refusal(RetrySoon, _("BingX takes one cancel per order and second: it is tried again."))
_ADVICE = {each.advice for each in (*REFUSALS.values(), UNHEARD_OF, _CLOCK, _LATE, _ONE_CANCEL)}
_CLOCK_CODES = {"100421", "109400", "80014", "80001", "109414"}
_TIME_OUT = re.compile(r"time[d]?[ -]?out", re.IGNORECASE)
_UNBLOCKED_AT = re.compile(r"(?:unblocked after|retry after time)\D{0,4}(\d{13})\b")
_WRAPPED = re.compile(r'"code"\s*:\s*"?(\d+)', re.IGNORECASE)
_LATEST_UNBLOCK_MS = 4_102_444_800_000

_QUOTED = " (BingX: "


def in_words(message: str) -> str:
    """Return an error's message with our advice in the reader's language; BingX's own words stay as they came."""
    advice, quoted, words = message.partition(_QUOTED)
    return gettext(advice) + quoted + words if advice in _ADVICE else message


def error_for(code: str, words: str, *, deed: Deed, http_status: int | None = None) -> ExchangeError:
    """Return the error that a business answer amounts to; `words` are BingX's, already free of secrets."""
    inner = _WRAPPED.search(words) if code in {"80012", "109500"} else None
    error, advice = classify(inner[1] if inner else code, words, deed)
    message = f"{advice}{_QUOTED}{words})" if words else advice
    if issubclass(error, RateLimited):
        return error(message, code=code, http_status=http_status, retry_at=unblocked_at(words))
    return error(message, code=code, http_status=http_status)


def classify(code: str, words: str, deed: Deed) -> Refusal:
    """Find the row for a code, its words first; a submitted order is never "not found" or "final" on the spot."""
    refusal = next(_told_by_words(code, words, deed), None) or REFUSALS.get(code, UNHEARD_OF)
    if deed is Deed.SUBMIT and issubclass(refusal.error, OrderNotFound | AlreadyFinal):
        return Refusal(OutcomeUnknown, _BUSY)
    return refusal


def _told_by_words(code: str, words: str, deed: Deed) -> Iterator[Refusal]:
    """Yield what the words say where the code alone means two things."""
    said = words.lower()
    if code in _CLOCK_CODES and "timestamp" in said:
        yield _CLOCK
    if _TIME_OUT.search(said):
        yield _LATE
    if (code == "101400" and "unique" in said) or (code == "101209" and ("same order" in said or "1 second" in said)):
        yield REFUSALS["101481"]
    if code == "109201" and deed is Deed.CANCEL:
        yield _ONE_CANCEL
    if code == "80001" and "being processed" in said:
        yield REFUSALS["101219"]
    if code in {"109422", "80018"} and "position" in said:
        yield REFUSALS["80017"]
    if code in {"100404", "109400"} and re.search(r"order\b.*\bnot (exist|found)", said):
        yield REFUSALS["109421"]


def unblocked_at(words: str) -> datetime | None:
    """Read the moment (epoch milliseconds in the text) from which an endpoint answers again; `None` when not named."""
    found = _UNBLOCKED_AT.search(words)
    if found is None or int(found[1]) > _LATEST_UNBLOCK_MS:
        return None
    return EPOCH + timedelta(milliseconds=int(found[1]))
