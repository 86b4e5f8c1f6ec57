"""What can be traded here, with BingX's own precisions and floors."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal

from exchange.types import Market

# 2020-01-01 UTC: the first candle of every series.
LAUNCHED_MS = 1_577_836_800_000
TAKER_FEE = Decimal("0.0005")
MAKER_FEE = Decimal("0.0002")
SPOT_FEE = Decimal("0.001")


@dataclass(frozen=True, slots=True)
class Instrument:
    """The grid and floors of one symbol; quantities are coins, on `coinm` contracts of `contract_size` USD each."""

    market: Market
    symbol: str
    price_precision: int
    quantity_precision: int
    min_quantity: Decimal
    min_notional: Decimal
    contract_id: str = ""
    contract_size: Decimal = Decimal(1)
    max_leverage: int = 125
    spot_max_quantity: Decimal = Decimal(0)

    @property
    def base(self) -> str:
        return self.symbol.split("-")[0]

    @property
    def quote(self) -> str:
        return self.symbol.split("-")[1]

    @property
    def margin_asset(self) -> str:
        return self.base if self.market == Market.COINM else self.quote

    @property
    def tick(self) -> Decimal:
        return Decimal(1).scaleb(-self.price_precision)

    @property
    def step(self) -> Decimal:
        return Decimal(1).scaleb(-self.quantity_precision)

    @property
    def taker_fee(self) -> Decimal:
        return SPOT_FEE if self.market == Market.SPOT else TAKER_FEE

    @property
    def maker_fee(self) -> Decimal:
        return SPOT_FEE if self.market == Market.SPOT else MAKER_FEE

    def cut_quantity(self, quantity: Decimal) -> Decimal:
        """Truncate to the step: BingX accepts excess decimals and drops them."""
        return quantity.quantize(self.step, rounding=ROUND_DOWN)

    def cut_price(self, price: Decimal) -> Decimal:
        return price.quantize(self.tick, rounding=ROUND_DOWN)


def _perpetual(symbol: str, contract: int, quantity: int, price: int, floor: str, leverage: int) -> Instrument:
    return Instrument(
        Market.USDTM, symbol, price, quantity, Decimal(floor), Decimal(2), str(contract), max_leverage=leverage
    )


def _coin(symbol: str, contract: int, price: int, size: int) -> Instrument:
    return Instrument(Market.COINM, symbol, price, 0, Decimal(1), Decimal(size), str(contract), Decimal(size))


def _spot(symbol: str, quantity: int, price: int, floor: str, ceiling: str) -> Instrument:
    return Instrument(
        Market.SPOT, symbol, price, quantity, Decimal(floor), Decimal(5), spot_max_quantity=Decimal(ceiling)
    )


ALL = (
    _perpetual("BTC-USDT", 100, 4, 1, "0.0001", 125),
    _perpetual("ETH-USDT", 101, 2, 2, "0.01", 125),
    _perpetual("LTC-USDT", 100006, 1, 2, "0.1", 100),
    _perpetual("ADA-USDT", 100004, 0, 5, "1", 75),
    _perpetual("SOL-USDT", 100028, 0, 3, "1", 75),
    _perpetual("XRP-USDT", 100007, 0, 4, "1", 100),
    _perpetual("DOGE-USDT", 100015, 0, 5, "1", 75),
    _perpetual("BNB-USDT", 100009, 2, 2, "0.01", 75),
    _perpetual("LINK-USDT", 100011, 1, 3, "0.1", 75),
    _perpetual("AVAX-USDT", 100025, 1, 3, "0.1", 75),
    _perpetual("1000PEPE-USDT", 100310, 0, 7, "1", 50),
    _perpetual("ETH-USDC", 100902, 2, 2, "0.01", 75),
    _coin("BTC-USD", 200, 1, 100),
    _coin("ETH-USD", 201, 2, 10),
    _coin("SOL-USD", 202, 3, 10),
    _spot("BTC-USDT", 5, 2, "0.0001826", "18.2663756"),
    _spot("ETH-USDT", 4, 2, "0.0016", "320"),
    _spot("SOL-USDT", 4, 2, "0.2395", "23957.8343"),
    _spot("LTC-USDT", 4, 2, "0.0537", "5376.3441"),
    _spot("ADA-USDT", 2, 4, "13.27", "1327316.17"),
    _spot("XRP-USDT", 2, 4, "11.21", "1121352.81"),
    _spot("DOGE-USDT", 1, 5, "40", "4000000"),
    _spot("BNB-USDT", 4, 2, "0.008", "900"),
    _spot("LINK-USDT", 2, 3, "0.35", "36000"),
    _spot("AVAX-USDT", 3, 3, "0.17", "18000"),
)

BY_MARKET: dict[Market, dict[str, Instrument]] = {
    market: {each.symbol: each for each in ALL if each.market == market} for market in Market
}
SYMBOLS = frozenset(each.symbol for each in ALL)
