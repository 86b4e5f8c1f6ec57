import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.symbols import AmbiguousPair, split_ticker, symbol_for

USDTM = frozenset({"BTC-USDT", "ETH-USDT", "ETH-USDC", "1000PEPE-USDT", "PEPE-USDT", "PERP-USDT", "BTC-USDC"})
COINM = frozenset({"BTC-USD", "ETH-USD"})


@pytest.mark.parametrize(
    ("text", "prefix", "ticker", "pair", "is_perpetual_only"),
    [
        ("BTCUSDT", "", "BTCUSDT", "BTCUSDT", False),
        ("BTCUSDT.P", "", "BTCUSDT.P", "BTCUSDT", True),
        ("BTCUSDT.PS", "", "BTCUSDT.PS", "BTCUSDT", True),
        ("BINGX:BTCUSDT.P", "BINGX", "BTCUSDT.P", "BTCUSDT", True),
        ("BINANCE_DLY:ethusdt", "BINANCE_DLY", "ETHUSDT", "ETHUSDT", False),
        ("btcusd.ps", "", "BTCUSD.PS", "BTCUSD", True),
        ("BTCUSDPERP", "", "BTCUSDPERP", "BTCUSD", True),
        ("BTCUSD_PERP", "", "BTCUSD_PERP", "BTCUSD", True),
        ("BTC-USDT", "", "BTC-USDT", "BTCUSDT", False),
        ("1000PEPEUSDT.P", "", "1000PEPEUSDT.P", "1000PEPEUSDT", True),
        ("PERPUSDT.P", "", "PERPUSDT.P", "PERPUSDT", True),
        ("PERPUSDT", "", "PERPUSDT", "PERPUSDT", False),
        ("PERP", "", "PERP", "PERP", False),
        ("ES1!", "", "ES1!", "ES1!", False),
        ("BTC.D", "", "BTC.D", "BTC.D", False),
    ],
)
def test_a_ticker_is_taken_apart(text: str, prefix: str, ticker: str, pair: str, is_perpetual_only: bool) -> None:
    assert split_ticker(text) == (prefix, ticker, pair, is_perpetual_only)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "B",
        " BTCUSDT",
        "BTCUSDT\n",
        "BTC USDT",
        ":BTCUSDT",
        "BINGX:",
        "A:B:BTC",
        "B" * 33,
        ".P",
        "-BTC",
        "BTC/USDT",
        "BTCUSD\u0422",
        "B\u0131T",
        "straße",
    ],
)
def test_what_is_no_ticker_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a ticker"):
        split_ticker(text)


@given(st.text(max_size=80))
def test_splitting_refuses_or_gives_plain_upper_case_parts(text: str) -> None:
    try:
        found = split_ticker(text)
    except ValueError:
        return
    assert (found.exchange_prefix + found.ticker).isascii()
    assert found.ticker == found.ticker.upper()
    assert 2 <= len(found.ticker) <= 32
    assert found.ticker.replace("-", "").startswith(found.pair)


@pytest.mark.parametrize(
    ("pair", "market", "symbols", "symbol"),
    [
        ("BTCUSDT", "usdtm", USDTM, "BTC-USDT"),
        ("BTCUSDT", "spot", USDTM, "BTC-USDT"),
        ("ETHUSDC", "usdtm", USDTM, "ETH-USDC"),
        ("1000PEPEUSDT", "usdtm", USDTM, "1000PEPE-USDT"),
        ("PEPEUSDT", "usdtm", USDTM, "PEPE-USDT"),
        ("PERPUSDT", "usdtm", USDTM, "PERP-USDT"),
        ("BTCUSD", "coinm", COINM, "BTC-USD"),
        ("btc-usd", "coinm", COINM, "BTC-USD"),
    ],
)
def test_the_exchanges_own_list_says_which_symbol_a_pair_is(
    pair: str, market: str, symbols: frozenset[str], symbol: str
) -> None:
    assert symbol_for(pair, market, symbols) == symbol


@pytest.mark.parametrize(
    ("pair", "market", "symbols"),
    [
        ("BTCUSD", "usdtm", USDTM),
        ("BTCUSDT", "coinm", COINM),
        ("NOPEUSDT", "usdtm", USDTM),
        ("BTC", "usdtm", USDTM),
        ("BTCUSDT", "usdtm", frozenset()),
        ("", "usdtm", USDTM),
    ],
)
def test_a_pair_that_the_market_does_not_list_has_no_symbol(pair: str, market: str, symbols: frozenset[str]) -> None:
    assert symbol_for(pair, market, symbols) is None


def test_a_pair_that_fits_two_symbols_is_never_guessed() -> None:
    with pytest.raises(AmbiguousPair, match=r"AB-CUSDT, ABC-USDT on usdtm"):
        symbol_for("ABCUSDT", "usdtm", ["ABC-USDT", "AB-CUSDT"])


def test_a_symbol_listed_twice_is_one_symbol() -> None:
    assert symbol_for("BTCUSDT", "usdtm", ["BTC-USDT", "BTC-USDT"]) == "BTC-USDT"


@given(st.sampled_from(sorted(USDTM)))
def test_every_listed_symbol_is_found_by_its_own_ticker(symbol: str) -> None:
    ticker = split_ticker(f"BINGX:{symbol.replace('-', '')}.P")
    assert symbol_for(ticker.pair, "usdtm", USDTM) == symbol
