"""TradingView's tickers and the exchange's symbols: two spellings of one instrument.

A ticker is taken apart only where its form is certain (`EXCHANGE:` before it, `.P` after it). Where the base ends and
the quote begins nobody can tell from `1000PEPEUSDT`, so the exchange's own list of symbols decides.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final, NamedTuple

from market.sentences import Sentence as _

_TICKER: Final = re.compile(r"(?:([A-Z0-9][A-Z0-9_]{0,31}):)?([A-Z0-9][A-Z0-9_.!-]{1,31})")
_PERPETUAL: Final = re.compile(r"(.{2,}?)(?:\.PS?|[._-]?PERP)")


class Ticker(NamedTuple):
    """`BINGX:BTCUSDT.P` is prefix `BINGX`, ticker `BTCUSDT.P`, pair `BTCUSDT`, and a perpetual only."""

    exchange_prefix: str
    ticker: str
    pair: str
    is_perpetual_only: bool


class AmbiguousPair(ValueError):
    """Several symbols of the exchange read the same once their hyphens are gone; guessing could trade the wrong one."""


def split_ticker(text: str) -> Ticker:
    """Take a ticker apart: the exchange before a colon, the ticker, the bare pair, and whether it is a perpetual only.

    Case does not matter and the parts are upper case. `.P`, `.PS` and `PERP` mark a perpetual and are no part of the
    pair, nor is a hyphen. Raises ValueError when the text is not a ticker.
    """
    # Upper-casing first would turn foreign letters, such as the dotless i of Turkish, into plain ones.
    match = _TICKER.fullmatch(text.upper()) if text.isascii() else None
    if match is None:
        raise ValueError(_("%(text)s is not a ticker such as BTCUSDT.P or BINGX:BTCUSDT.P", text=ascii(text[:60])))
    exchange_prefix, ticker = match.groups(default="")
    perpetual = _PERPETUAL.fullmatch(ticker)
    pair = perpetual[1] if perpetual else ticker
    return Ticker(exchange_prefix, ticker, pair.replace("-", ""), perpetual is not None)


def symbol_for(pair: str, market: str, symbols: Collection[str]) -> str | None:
    """Return the one symbol of this market that is the pair once its hyphen is gone, or None when there is none.

    `symbols` is the exchange's own list for `market` (`BTC-USDT` on usdtm and spot, `BTC-USD` on coinm).
    Raises AmbiguousPair when more than one fits.
    """
    wanted = pair.replace("-", "").upper()
    found = sorted({symbol for symbol in symbols if symbol.replace("-", "").upper() == wanted})
    if len(found) > 1:
        words = _(
            "%(pair)s could be any of %(found)s on %(market)s; name the symbol itself",
            pair=pair,
            found=", ".join(found),
            market=market,
        )
        raise AmbiguousPair(words)
    return found[0] if found else None
