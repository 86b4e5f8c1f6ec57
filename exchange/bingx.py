"""BingX, one method an endpoint, for its three products; types and errors of ours in, types and errors of ours out.

Reads are asked again a few times when an answer is lost. Writes are sent once and never repeated: after
`OutcomeUnknown` the caller asks. The vendor's page stands above each method; where the exchange does otherwise, the
project's BingX fact page says so.
"""

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import IntEnum
from typing import Any

from exchange import decoding, parsing, phrasing, statements
from exchange.decoding import Row, Unreadable
from exchange.errors import NotSent, OutcomeUnknown, RateLimited
from exchange.pacing import READ_PATIENCE, WRITE_PATIENCE, Pacer, Rank
from exchange.phrasing import INTERVALS, MILLISECOND, ROUTES, Parameters
from exchange.refusals import ClockSkew, Deed
from exchange.types import (
    BalanceReport,
    FeeRatesReport,
    FillReport,
    IncomeKind,
    IncomeReport,
    InstrumentReport,
    KeyReport,
    KlineReport,
    KlineText,
    LeverageReport,
    MarginMode,
    Market,
    OrderReport,
    OrderRequest,
    OrderType,
    PositionMode,
    PositionReport,
    PositionSide,
    Side,
    StandardOrderReport,
)
from exchange.wire import Wire

MOST_KLINES = 1000
MOST_ROWS = 1000

# Seconds before the second and the third attempt of a read, and the age after which no further one begins: with the
# default time-outs a read ends within 20 s, the soft time limit of the tasks.
READ_PAUSES = (0.2, 0.6)
READ_BUDGET = 6.0


class KeyPermission(IntEnum):
    """What an API key may do; the ids of `BingX.permissions`."""

    SPOT_TRADE = 1
    READ = 2
    PERPETUAL_TRADE = 3
    UNIVERSAL_TRANSFER = 4
    WITHDRAW = 5
    SUB_ACCOUNT_TRANSFER = 7


def utc_now() -> datetime:
    return datetime.now(UTC)


class BingX:
    """One account at BingX, or at a server that speaks like it. Use an instance from one thread only.

    `clock_offset` (their clock minus ours) is added to every time stamp but an order's: that signs exactly its
    `signed_at`. With a `pacer` each request waits for its turn under the exchange's rate limits. Connections are kept
    open between calls.
    """

    def __init__(
        self,
        *,
        base_url: str,
        key: str = "",
        secret: str = "",
        connect_timeout: float = 2.0,
        read_timeout: float = 5.0,
        recv_window_ms: int = 5000,
        clock: Callable[[], datetime] = utc_now,
        clock_offset: timedelta = timedelta(0),
        pacer: Pacer | None = None,
    ) -> None:
        self._wire = Wire(
            base_url, key, secret, connect_timeout=connect_timeout, read_timeout=read_timeout, pacer=pacer
        )
        self._recv_window_ms = recv_window_ms
        self._clock = clock
        self.clock_offset = clock_offset

    def __repr__(self) -> str:
        return f"BingX({self._wire.base_url})"

    def close(self) -> None:
        """Close the kept connections; the next call opens new ones."""
        self._wire.close()

    # Public market data

    def server_time(self) -> datetime:
        """Return the exchange's clock.

        https://bingx-api.github.io/docs-v3/#/en/Swap/Base%20Info
        """
        body = self._read(phrasing.SERVER_TIME, is_signed=False)
        return decoding.required_moment(decoding.one(body.get("data")), "serverTime")

    def measure_clock(self) -> timedelta:
        """Compare the clocks, keep the difference for the reads to come, and return it."""
        before = self._clock()
        theirs = self.server_time()
        self.clock_offset = theirs - (before + (self._clock() - before) / 2)
        return self.clock_offset

    def instruments(self, market: Market) -> list[InstrumentReport]:
        """Return everything that the product lists, tradable or not.

        https://bingx-api.github.io/docs-v3/#/en/Swap/Market%20Data/USDT-M%20Perp%20Futures%20symbols
        https://bingx-api.github.io/docs-v3/#/en/Coin-M%20Futures/Market%20Data/Contract%20Information
        https://bingx-api.github.io/docs-v3/#/en/Spot/Market%20Data/Spot%20trading%20symbols
        """
        body = self._read(ROUTES[market].instruments, is_signed=False)
        return parsing.parse_instruments(market, body.get("data"))

    def price(self, market: Market, symbol: str) -> Decimal:
        """Return the last traded price.

        https://bingx-api.github.io/docs-v3/#/en/Swap/Market%20Data/Symbol%20Price%20Ticker
        https://bingx-api.github.io/docs-v3/#/en/Coin-M%20Futures/Market%20Data/Query%2024-Hour%20Price%20Change
        https://bingx-api.github.io/docs-v3/#/en/Spot/Market%20Data/24hr%20Ticker%20Price%20Change%20Statistics
        """
        body = self._read(ROUTES[market].price, {"symbol": symbol}, is_signed=False)
        return parsing.parse_price(symbol, body.get("data"))

    def prices(self, market: Market) -> dict[str, Decimal]:
        """Return the last traded price of every symbol of the product, in one request.

        https://bingx-api.github.io/docs-v3/#/en/Swap/Market%20Data/Symbol%20Price%20Ticker
        https://bingx-api.github.io/docs-v3/#/en/Coin-M%20Futures/Market%20Data/Query%2024-Hour%20Price%20Change
        https://bingx-api.github.io/docs-v3/#/en/Spot/Market%20Data/24hr%20Ticker%20Price%20Change%20Statistics
        """
        return parsing.parse_prices(self._read(ROUTES[market].price, is_signed=False).get("data"))

    def klines(
        self,
        market: Market,
        symbol: str,
        interval: str,
        *,
        start: datetime | None,
        end: datetime | None,
        limit: int = MOST_KLINES,
    ) -> list[KlineReport]:
        """Return the newest `limit` candles with `start <= open_time < end`, oldest first, each once.

        The running candle may be the last. To page, go backwards: pass the oldest `open_time` as the next `end`. BingX
        keeps the newest of a wide range and may count two candles outside it, so that a page can be two short of 1000.

        https://bingx-api.github.io/docs-v3/#/en/Swap/Market%20Data/Kline%2FCandlestick%20Data
        https://bingx-api.github.io/docs-v3/#/en/Coin-M%20Futures/Market%20Data/Get%20K-line%20Data
        https://bingx-api.github.io/docs-v3/#/en/Spot/Market%20Data/Kline%2FCandlestick%20Data
        """
        found = parsing.parse_klines(self._klines(market, symbol, interval, start, end, limit))
        kept = [k for k in found if (not start or k.open_time >= start) and (not end or k.open_time < end)]
        return kept[-limit:]

    def kline_texts(
        self, market: Market, symbol: str, interval: str, *, start: datetime, end: datetime, limit: int = MOST_KLINES
    ) -> list[KlineText]:
        """Return what `klines` returns as it was written, for those who store millions."""
        found = parsing.parse_kline_texts(self._klines(market, symbol, interval, start, end, limit))
        start_ms, end_ms = phrasing.to_ms(start), phrasing.to_ms(end)
        return [kline for kline in found if start_ms <= kline[0] < end_ms][-limit:]

    def _klines(
        self, market: Market, symbol: str, interval: str, start: datetime | None, end: datetime | None, limit: int
    ) -> Any:
        if interval not in INTERVALS or not 1 <= limit <= MOST_KLINES:
            raise ValueError("unknown interval, or a limit outside 1 to 1000")
        until = end if end or not start else self._clock() + self.clock_offset
        parameters: Parameters = {
            "symbol": symbol,
            "interval": interval,
            "startTime": start - MILLISECOND if start else None,
            "endTime": until + INTERVALS[interval] if until else None,
            "limit": min(limit + 2, MOST_KLINES) if until else limit,
            # Spot's days begin at 16:00 UTC unless told otherwise.
            "timeZone": 0 if market is Market.SPOT else None,
        }
        return self._read(ROUTES[market].klines, parameters, is_signed=False).get("data")

    # Orders

    def await_turn(self, market: Market, *, opens: bool) -> None:
        """Wait, a second at most, for an order's turn under the rate limits, before it is committed as submitted.

        Raise `RateLimited` when its turn does not come so soon: nothing was sent, and it may be tried again.
        """
        rank = Rank.ENTRY if opens else Rank.EXIT
        self._wire.await_turn("POST", ROUTES[market].place, rank=rank, patience=WRITE_PATIENCE)

    def place_order(self, request: OrderRequest, *, has_turn: bool = False) -> OrderReport:
        """Send one order, once, signed with exactly `request.signed_at`.

        `has_turn`: `await_turn` was called for it. Otherwise it waits here, and is `NotSent` when no turn comes.
        Raise `ValueError` for a request that contradicts itself, before anything is sent; `OutcomeUnknown` also when
        the order was taken but its echo cannot be read. A conditional order carries no client order id on the
        perpetuals: BingX takes one for MARKET and LIMIT only, so that such an order is known by its exchange id alone.

        https://bingx-api.github.io/docs-v3/#/en/Swap/Trades%20Endpoints/Place%20order
        https://bingx-api.github.io/docs-v3/#/en/Coin-M%20Futures/Trades%20Endpoints/Trade%20order
        https://bingx-api.github.io/docs-v3/#/en/Spot/Trades%20Endpoints/Place%20order
        """
        parameters = phrasing.order(request)
        if not has_turn:
            self._await_turn_or_not_send(request)
        path = ROUTES[request.market].place
        body = self._send("POST", path, parameters, Deed.SUBMIT, request.signed_at)
        return parsing.parse_order(request.market, decoding.one(body.get("data"), "order"), request)

    def order(
        self, market: Market, symbol: str, *, client_order_id: str | None = None, exchange_order_id: str | None = None
    ) -> OrderReport:
        """Ask for one order by one of its two ids; raise `OrderNotFound` when they know none.

        Spot knows an order by its client id for two hours only; right after a submit the look-up may lag.

        https://bingx-api.github.io/docs-v3/#/en/Swap/Trades%20Endpoints/Query%20Order%20details
        https://bingx-api.github.io/docs-v3/#/en/Coin-M%20Futures/Trades%20Endpoints/Query%20Order
        https://bingx-api.github.io/docs-v3/#/en/Spot/Trades%20Endpoints/Query%20Order%20details
        """
        named = phrasing.order_id(market, client_order_id, exchange_order_id)
        body = self._read(ROUTES[market].order, {"symbol": symbol, **named})
        report = parsing.parse_order(market, decoding.one(body.get("data"), "order"))
        return _checked(report, client_order_id, exchange_order_id)

    def cancel_order(
        self, market: Market, symbol: str, *, client_order_id: str | None = None, exchange_order_id: str | None = None
    ) -> OrderReport:
        """Cancel one order, once; the status in the answer may be stale, ask for the order to be sure.

        https://bingx-api.github.io/docs-v3/#/en/Swap/Trades%20Endpoints/Cancel%20Order
        https://bingx-api.github.io/docs-v3/#/en/Coin-M%20Futures/Trades%20Endpoints/Cancel%20an%20Order
        https://bingx-api.github.io/docs-v3/#/en/Spot/Trades%20Endpoints/Cancel%20Order
        """
        named = phrasing.order_id(market, client_order_id, exchange_order_id)
        method, path = ROUTES[market].cancel
        body = self._write(method, path, {"symbol": symbol, **named}, Deed.CANCEL)
        report = parsing.parse_order(market, decoding.one(body.get("data"), "order"))
        return _checked(report, client_order_id, exchange_order_id)

    def open_orders(self, market: Market, symbol: str | None = None) -> list[OrderReport]:
        """Return the orders that still work, stops that wait for their trigger among them.

        https://bingx-api.github.io/docs-v3/#/en/Swap/Trades%20Endpoints/Current%20All%20Open%20Orders
        https://bingx-api.github.io/docs-v3/#/en/Coin-M%20Futures/Trades%20Endpoints/Query%20all%20current%20pending%20orders
        https://bingx-api.github.io/docs-v3/#/en/Spot/Trades%20Endpoints/Current%20Open%20Orders
        """
        body = self._read(ROUTES[market].open_orders, {"symbol": symbol})
        return [parsing.parse_order(market, row) for row in decoding.rows(body.get("data"), "orders")]

    def past_orders(self, market: Market, symbol: str, *, start: datetime, end: datetime) -> list[OrderReport]:
        """Return the orders of a time range, whatever their state on USDT-M, finished ones elsewhere; oldest id first.

        The range is asked for in windows of seven days, and a window that comes back full is halved: no paging rule of
        the vendor is relied on.

        https://bingx-api.github.io/docs-v3/#/en/Swap/Trades%20Endpoints/All%20Orders
        https://bingx-api.github.io/docs-v3/#/en/Coin-M%20Futures/Trades%20Endpoints/User's%20History%20Orders
        https://bingx-api.github.io/docs-v3/#/en/Spot/Trades%20Endpoints/Query%20Order%20history
        """
        most = 100 if market is Market.SPOT else MOST_ROWS
        page: Parameters = {"pageIndex": 1, "pageSize": most} if market is Market.SPOT else {"limit": most}

        def ask(since: datetime, until: datetime) -> list[Row]:
            parameters: Parameters = {"symbol": symbol, "startTime": since, "endTime": until, **page}
            body = self._read(ROUTES[market].past_orders, parameters)
            return decoding.rows(body.get("data"), "orders")

        found = [parsing.parse_order(market, row) for row in phrasing.rows_by_windows(ask, start, end, most)]
        unique = {order.exchange_order_id: order for order in found}
        return sorted(unique.values(), key=lambda order: (len(order.exchange_order_id), order.exchange_order_id))

    # Fills

    def fills(
        self,
        market: Market,
        symbol: str,
        *,
        exchange_order_id: str | None = None,
        start: datetime,
        end: datetime,
    ) -> list[FillReport]:
        """Return the executions of a time range, or of one order in it; oldest first, each trade id once.

        BingX writes the times of USDT-M fills to the second, so that a fill up to a second before `start` may be among
        them. COIN-M answers for one order at a time: without one, each filled order of the range is asked for.

        https://bingx-api.github.io/docs-v3/#/en/Swap/Trades%20Endpoints/Query%20historical%20transaction%20details
        https://bingx-api.github.io/docs-v3/#/en/Coin-M%20Futures/Trades%20Endpoints/Query%20Order%20Trade%20Detail
        https://bingx-api.github.io/docs-v3/#/en/Spot/Trades%20Endpoints/Query%20transaction%20details
        """
        if market is Market.USDTM:
            found = self._usdtm_fills(symbol, exchange_order_id, start, end)
        elif market is Market.SPOT:
            found = self._spot_fills(symbol, exchange_order_id, start, end)
        else:
            found = self._coinm_fills(symbol, exchange_order_id, start, end)
        unique = {fill.exchange_trade_id: fill for fill in found}
        return sorted(unique.values(), key=lambda fill: (fill.filled_at, fill.exchange_trade_id))

    def _usdtm_fills(self, symbol: str, order_id: str | None, start: datetime, end: datetime) -> list[FillReport]:
        found = []
        # The start is exclusive there.
        for since, until in phrasing.windows(start.replace(microsecond=0) - MILLISECOND, end):
            asked: Parameters = {"symbol": symbol, "orderId": order_id, "startTs": since, "endTs": until}
            pages = self._pages(ROUTES[Market.USDTM].fills, asked)
            found += [parsing.parse_usdtm_fill(row) for row in pages]
        return found

    def _coinm_fills(self, symbol: str, order_id: str | None, start: datetime, end: datetime) -> list[FillReport]:
        found = []
        for asked in [order_id] if order_id else self._filled_orders(symbol, start, end):
            pages = self._pages(ROUTES[Market.COINM].fills, {"orderId": asked})
            found += [parsing.parse_coinm_fill(row) for row in pages]
        return [fill for fill in found if start <= fill.filled_at <= end]

    def _filled_orders(self, symbol: str, start: datetime, end: datetime) -> list[str]:
        """Return the ids of the COIN-M orders that may have fills in the range; an open one may be filled in part."""
        orders = self.past_orders(Market.COINM, symbol, start=start, end=end) + self.open_orders(Market.COINM, symbol)
        return [order.exchange_order_id for order in orders if order.filled_quantity]

    def _pages(self, path: str, parameters: Parameters) -> list[Row]:
        """Turn pages until one is not full or tells nothing new; fewer rows than their own total are unreadable."""
        found: dict[str, Row] = {}
        page, is_more, total = 1, True, None
        while is_more:
            data = self._read(path, {**parameters, "pageIndex": page, "pageSize": MOST_ROWS}).get("data")
            rows = decoding.rows(data, "fill_history_orders", "fill_orders")
            total = decoding.whole_or_none(data, "total") if isinstance(data, dict) else None
            known, page = len(found), page + 1
            found |= {decoding.text(row, "tradeId"): row for row in rows}
            is_more = len(rows) >= MOST_ROWS and len(found) > known
        if total is not None and len(found) < total:
            raise Unreadable("fewer fills came than the answer counts")
        return list(found.values())

    def _spot_fills(self, symbol: str, order_id: str | None, start: datetime, end: datetime) -> list[FillReport]:
        named: Parameters = {"symbol": symbol, "orderId": order_id, "limit": MOST_ROWS}

        def ask(since: datetime, until: datetime) -> list[Row]:
            body = self._read(ROUTES[Market.SPOT].fills, {**named, "startTime": since, "endTime": until})
            return decoding.rows(body.get("data"), "fills")

        return [parsing.parse_spot_fill(row) for row in phrasing.rows_by_windows(ask, start, end, MOST_ROWS)]

    # The account

    def positions(self, market: Market, symbol: str | None = None) -> list[PositionReport]:
        """Return what the account holds; a flat symbol has no row. Spot has none: `ValueError`.

        https://bingx-api.github.io/docs-v3/#/en/Swap/Account%20Endpoints/Query%20position%20data
        https://bingx-api.github.io/docs-v3/#/en/Coin-M%20Futures/Trades%20Endpoints/Query%20warehouse
        """
        body = self._read(phrasing.route(market, "positions"), {"symbol": symbol})
        return parsing.parse_positions(market, body.get("data"))

    def balances(self, market: Market) -> list[BalanceReport]:
        """Return the product's wallet, one report an asset.

        https://bingx-api.github.io/docs-v3/#/en/Swap/Account%20Endpoints/Query%20account%20data
        https://bingx-api.github.io/docs-v3/#/en/Coin-M%20Futures/Trades%20Endpoints/Query%20Account%20Assets
        https://bingx-api.github.io/docs-v3/#/en/Spot/Account%20Endpoints/Query%20Assets
        """
        return parsing.parse_balances(market, self._read(ROUTES[market].balances).get("data"))

    def income(
        self,
        market: Market,
        *,
        start: datetime,
        end: datetime,
        symbol: str | None = None,
        kind: IncomeKind | None = None,
    ) -> list[IncomeReport]:
        """Return what came and went in a time range (fees, funding, profits, transfers), oldest first, each once.

        BingX keeps three months. The range is asked for in windows of seven days, and a window that comes back full is
        halved. Only USDT-M tells: the vendor has no such list for COIN-M and spot (`ValueError`).

        https://bingx-api.github.io/docs-v3/#/en/Swap/Account%20Endpoints/Get%20Account%20Profit%20and%20Loss%20Fund%20Flow
        """
        path, named = phrasing.route(market, "income"), {"symbol": symbol, "incomeType": phrasing.income_kind(kind)}

        def ask(since: datetime, until: datetime) -> list[Row]:
            page: Parameters = {"startTime": since, "endTime": until, "limit": MOST_ROWS}
            return _listed(self._read(path, {**named, **page}).get("data"))

        rows = phrasing.rows_by_windows(ask, start, end, MOST_ROWS)
        # A row on the seam of two windows comes twice, alike in every member
        unique = dict.fromkeys(statements.parse_income(market, row) for row in rows)
        return sorted(unique, key=lambda income: (income.happened_at, income.exchange_income_id))

    def fee_rates(self, market: Market, symbol: str | None = None) -> FeeRatesReport:
        """Return what this account pays for trading; spot wants the symbol (`ValueError` without).

        https://bingx-api.github.io/docs-v3/#/en/Swap/Account%20Endpoints/Query%20Trading%20Commission%20Rate
        https://bingx-api.github.io/docs-v3/#/en/Coin-M%20Futures/Trades%20Endpoints/Query%20Trade%20Commission%20Rate
        https://bingx-api.github.io/docs-v3/#/en/Spot/Trades%20Endpoints/Query%20Trading%20Commission%20Rate
        """
        if (market is Market.SPOT) is not bool(symbol):
            raise ValueError("spot has a rate for each symbol, the perpetuals have one for all")
        return statements.parse_fee_rates(market, self._read(ROUTES[market].fee_rates, {"symbol": symbol}).get("data"))

    # The standard contract: an old product, read and never traded

    def standard_balances(self) -> list[BalanceReport]:
        """Return the standard contract's wallet, one report an asset.

        https://bingx-api.github.io/docs/#/en-us/standard/contract-interface.html#Query%20standard%20contract%20balance
        """
        return statements.parse_standard_balances(self._read(phrasing.STANDARD_BALANCES).get("data"))

    def standard_positions(self) -> list[PositionReport]:
        """Return what the account holds in standard contracts.

        https://bingx-api.github.io/docs/#/en-us/standard/contract-interface.html#Position
        """
        return statements.parse_standard_positions(self._read(phrasing.STANDARD_POSITIONS).get("data"))

    def standard_orders(self, symbol: str, *, start: datetime, end: datetime) -> list[StandardOrderReport]:
        """Return the standard contract's closed trades of a time range, each once, oldest first.

        https://bingx-api.github.io/docs/#/en-us/standard/contract-interface.html#Historical%20order
        """

        def ask(since: datetime, until: datetime) -> list[Row]:
            parameters: Parameters = {"symbol": symbol, "startTime": since, "endTime": until, "limit": MOST_ROWS}
            return _listed(self._read(phrasing.STANDARD_ORDERS, parameters).get("data"))

        rows = phrasing.rows_by_windows(ask, start, end, MOST_ROWS)
        unique = {order.exchange_order_id: order for order in map(statements.parse_standard_order, rows)}
        return sorted(unique.values(), key=lambda order: (order.opened_at, order.exchange_order_id))

    def leverage(self, market: Market, symbol: str) -> LeverageReport:
        """Return the leverage of both legs. Spot has none: `ValueError`.

        https://bingx-api.github.io/docs-v3/#/en/Swap/Trades%20Endpoints/Query%20Leverage%20and%20Available%20Positions
        https://bingx-api.github.io/docs-v3/#/en/Coin-M%20Futures/Trades%20Endpoints/Query%20Leverage
        """
        return parsing.parse_leverage(self._read(phrasing.route(market, "leverage"), {"symbol": symbol}).get("data"))

    def set_leverage(self, market: Market, symbol: str, position_side: PositionSide, leverage: int) -> None:
        """Set the leverage of one leg: LONG or SHORT in hedge mode, BOTH in one-way mode.

        https://bingx-api.github.io/docs-v3/#/en/Swap/Trades%20Endpoints/Set%20Leverage
        https://bingx-api.github.io/docs-v3/#/en/Coin-M%20Futures/Trades%20Endpoints/Modify%20Leverage
        """
        path = phrasing.route(market, "leverage")
        self._change(path, {"symbol": symbol, "side": position_side.value, "leverage": leverage})

    def margin_mode(self, market: Market, symbol: str) -> MarginMode:
        """Return whether the symbol's margin is crossed or isolated. Spot has none: `ValueError`.

        https://bingx-api.github.io/docs-v3/#/en/Swap/Trades%20Endpoints/Query%20Margin%20Type
        https://bingx-api.github.io/docs-v3/#/en/Coin-M%20Futures/Trades%20Endpoints/Query%20Margin%20Type
        """
        return parsing.parse_margin_mode(
            self._read(phrasing.route(market, "margin_mode"), {"symbol": symbol}).get("data")
        )

    def set_margin_mode(self, market: Market, symbol: str, mode: MarginMode) -> None:
        """Set the margin mode; BingX refuses while the symbol has a position or a pending order.

        https://bingx-api.github.io/docs-v3/#/en/Swap/Trades%20Endpoints/Change%20Margin%20Type
        https://bingx-api.github.io/docs-v3/#/en/Coin-M%20Futures/Trades%20Endpoints/Set%20Margin%20Type
        """
        self._change(phrasing.route(market, "margin_mode"), {"symbol": symbol, "marginType": mode.value})

    def position_mode(self) -> PositionMode:
        """Return the perpetual account's mode: hedge or one-way, for all its symbols.

        https://bingx-api.github.io/docs-v3/#/en/Swap/Trades%20Endpoints/Query%20position%20mode
        """
        return parsing.parse_position_mode(self._read(phrasing.POSITION_MODE).get("data"))

    def set_position_mode(self, mode: PositionMode) -> None:
        """Set the perpetual account's mode; BingX refuses while anything is open.

        https://bingx-api.github.io/docs-v3/#/en/Swap/Trades%20Endpoints/Set%20Position%20Mode
        """
        self._change(phrasing.POSITION_MODE, {"dualSidePosition": mode is PositionMode.HEDGE})

    def permissions(self) -> frozenset[int]:
        """Return what this key may do, as ids of `KeyPermission`; unknown ids are kept.

        https://bingx-api.github.io/docs-v3/#/en/Account%20and%20Wallet/Sub-account%20Management/Query%20API%20KEY%20Permissions
        """
        return self.key().permissions

    def key(self) -> KeyReport:
        """Return what this key may do and from which addresses it may be used.

        https://bingx-api.github.io/docs-v3/#/en/Account%20and%20Wallet/Sub-account%20Management/Query%20API%20KEY%20Permissions
        """
        return parsing.parse_key(self._read(phrasing.PERMISSIONS, is_bare=True))

    # How it is asked

    def _read(
        self, path: str, parameters: Parameters | None = None, *, is_signed: bool = True, is_bare: bool = False
    ) -> dict[str, Any]:
        """Ask, and ask again when an answer is lost; when BingX blames the clock, compare clocks and ask once more."""
        asked = phrasing.written(parameters or {})
        try:
            return self._persist(path, asked, is_signed, is_bare)
        except ClockSkew:
            if not is_signed:
                raise
        self.measure_clock()
        return self._persist(path, asked, is_signed, is_bare)

    def _persist(self, path: str, asked: dict[str, str], is_signed: bool, is_bare: bool) -> dict[str, Any]:
        began = time.monotonic()
        for pause in READ_PAUSES:
            try:
                return self._ask(path, asked, is_signed, is_bare)
            except (NotSent, OutcomeUnknown) as error:
                # A business code is an answer: repeating what was refused gets the endpoint blocked.
                if error.code or time.monotonic() - began + pause > READ_BUDGET:
                    raise
            time.sleep(pause * random.uniform(0.5, 1))  # noqa: S311
        return self._ask(path, asked, is_signed, is_bare)

    def _ask(self, path: str, asked: dict[str, str], is_signed: bool, is_bare: bool) -> dict[str, Any]:
        """Send a read in its turn, stamped and signed afresh for each attempt."""
        self._wire.await_turn("GET", path, is_signed=is_signed, patience=READ_PATIENCE)
        stamp = self._stamp(self._clock() + self.clock_offset, is_signed)
        return self._wire.call("GET", path, asked | stamp, deed=Deed.READ, is_signed=is_signed, is_bare=is_bare)

    def _write(self, method: str, path: str, parameters: Parameters, deed: Deed) -> dict[str, Any]:
        """Send a write in its turn, signed as of then by the exchange's clock."""
        self._wire.await_turn(method, path, patience=WRITE_PATIENCE)
        return self._send(method, path, parameters, deed, self._clock() + self.clock_offset)

    def _send(self, method: str, path: str, parameters: Parameters, deed: Deed, signed_at: datetime) -> dict[str, Any]:
        """Send a write, once."""
        said = phrasing.written(parameters) | self._stamp(signed_at, is_signed=True)
        return self._wire.call(method, path, said, deed=deed, is_signed=True)

    def _change(self, path: str, parameters: Parameters) -> None:
        self._write("POST", path, parameters, Deed.CHANGE)

    def _await_turn_or_not_send(self, request: OrderRequest) -> None:
        """Wait for the turn of an order that was committed already; without one it provably did not leave."""
        try:
            self.await_turn(request.market, opens=_opens(request))
        except RateLimited as limit:
            raise NotSent(limit.message) from None

    def _stamp(self, moment: datetime, is_signed: bool) -> dict[str, str]:
        window = {"recvWindow": str(self._recv_window_ms)} if is_signed else {}
        return window | {"timestamp": str(phrasing.to_ms(moment))}


def _listed(data: Any) -> list[Row]:
    """Return a bare list's rows; null is BingX's other way to write an empty one."""
    return [] if data is None else decoding.rows(data)


def _opens(request: OrderRequest) -> bool:
    """Tell an entry from what goes first: it is no stop, not reduce-only, and on the side that opens its leg."""
    opening = {PositionSide.LONG: {Side.BUY}, PositionSide.SHORT: {Side.SELL}, PositionSide.BOTH: set(Side)}
    sides = {Side.BUY} if request.market is Market.SPOT else opening[request.position_side]
    is_stop = request.order_type in {OrderType.STOP_MARKET, OrderType.TAKE_PROFIT_MARKET}
    return request.side in sides and not is_stop and not request.reduce_only


def _checked(report: OrderReport, client_order_id: str | None, exchange_order_id: str | None) -> OrderReport:
    """Return the report when it speaks of the order that was asked for; never let another's fate pass for it."""
    if exchange_order_id and report.exchange_order_id != exchange_order_id:
        raise Unreadable("the answer speaks of another order")
    if client_order_id and report.client_order_id.lower() not in {"", client_order_id.lower()}:
        raise Unreadable("the answer speaks of another client order id")
    return report
