"""The exchange's own list of instruments: refreshed from it, and asked what a ticker may mean."""

from django.db import connections
from django.utils import timezone
from loguru import logger

from exchange.connection import connect_for_market_data
from exchange.models import MarketChoices
from exchange.types import InstrumentReport, Market
from market.models import Instrument
from market.symbols import AmbiguousPair, split_ticker, symbol_for

COLUMNS = (
    "base_asset",
    "quote_asset",
    "tick_size",
    "step_size",
    "min_quantity",
    "min_notional",
    "contract_size",
    "max_long_leverage",
    "max_short_leverage",
    "is_open_allowed",
    "is_close_allowed",
)


def refresh(market: Market) -> int:
    """Bring the stored instruments of one product up to the exchange's list; return how many it has.

    A symbol that the exchange no longer lists stays, closed for entries: operations and history still name it.
    """
    reports = connect_for_market_data().instruments(market)
    now = timezone.now()
    _store([Instrument(market=market.value, refreshed_at=now, **_columns(report)) for report in reports])
    # By name, not by age: another worker may be refreshing the same list
    gone = Instrument.objects.filter(market=market.value, is_open_allowed=True)
    gone = gone.exclude(symbol__in=[report.symbol for report in reports])
    if reports and (delisted := gone.update(is_open_allowed=False)):
        logger.warning("{} symbols are no longer listed on {}", delisted, market)
    return len(reports)


def _store(instruments: list[Instrument]) -> None:
    # MySQL finds the row by any unique key and refuses to be told which; SQLite must be told
    can_name = connections["market"].features.supports_update_conflicts_with_target
    Instrument.objects.bulk_create(
        instruments,
        update_conflicts=True,
        update_fields=[*COLUMNS, "refreshed_at"],
        unique_fields=["market", "symbol"] if can_name else None,
    )


def _columns(report: InstrumentReport) -> dict[str, object]:
    return {name: getattr(report, name) for name in ("symbol", *COLUMNS)}


def symbol_of(pair: str, market: str) -> str | None:
    """Return the exchange's symbol for a bare pair on one product; None when it lists none."""
    return symbol_for(pair, market, Instrument.objects.filter(market=market).values_list("symbol", flat=True))


def symbol_as_written(text: str, market: str) -> str | None:
    """Return the exchange's symbol for its own spelling (`BTC-USDT`) or TradingView's (`BINGX:BTCUSDT.P`).

    None when the product lists none. Raises AmbiguousPair.
    """
    own = text.upper()
    if Instrument.objects.filter(market=market, symbol=own).exists():
        return own
    try:
        ticker = split_ticker(text)
    except ValueError:
        return None
    is_other_product = ticker.is_perpetual_only and market == Market.SPOT.value
    return None if is_other_product else symbol_of(ticker.pair, market)


def is_listed(pair: str) -> bool:
    """Tell whether any product lists the pair, be it under more than one symbol."""
    try:
        return any(symbol_of(pair, market) for market in MarketChoices.values)
    except AmbiguousPair:
        return True
