"""What is held now, and what it would bring at the market's last price."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from exchange.backoffice import NOTHING, shown_number, without_secrets
from exchange.models import Account
from exchange.quotes import quotes
from exchange.types import Market
from market.models import Instrument
from market.units import counted_in, settled_in
from operations.admin import OPERATION_COLOURS
from operations.models import Operation
from operations.profit import live_profit, profit_percent
from strategies.models import Strategy

MOST = 50
_CENTS = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Holding:
    """A live operation as one line; no price is known while the exchange does not tell one."""

    operation: Operation
    colour: str
    held: str
    entered_at: str
    price: str
    profit: str
    percent: str
    tone: str


def holdings(strategy: Strategy | None = None, *, account: Account | None = None) -> list[Holding]:
    """Return the live operations, of one strategy, of one account or of all, newest first: two queries, no call."""
    live = Operation.objects.filter(status__in=Operation.LIVE).select_related("strategy", "account").order_by("-id")
    if strategy:
        live = live.filter(strategy=strategy)
    if account:
        live = live.filter(account=account)
    operations = list(live.defer(*without_secrets("account__"))[:MOST])
    sizes = _contract_sizes(operations)
    return [_holding(each, sizes) for each in operations]


def _contract_sizes(operations: Iterable[Operation]) -> dict[str, Decimal]:
    """Return the size of a contract for each COIN-M symbol; nothing is asked while none is held."""
    symbols = {each.symbol for each in operations if each.market == Market.COINM}
    if not symbols:
        return {}
    listed = Instrument.objects.filter(market=Market.COINM, symbol__in=symbols)
    return dict(listed.values_list("symbol", "contract_size"))


def _holding(operation: Operation, sizes: dict[str, Decimal]) -> Holding:
    price = _price_of(operation)
    profit = _profit_of(operation, price, sizes)
    entry = operation.avg_entry_price
    percent = profit_percent(entry, price, operation.leg) if price and entry else None
    return Holding(
        operation,
        OPERATION_COLOURS[operation.status],
        f"{shown_number(operation.held_quantity)} {counted_in(operation.market, operation.symbol)}",
        shown_number(entry),
        shown_number(price),
        signed(profit, asset_of(operation)) if profit is not None else NOTHING,
        f"{percent:+.2f} %" if percent is not None else "",
        tone_of(profit),
    )


def _price_of(operation: Operation) -> Decimal | None:
    return quotes.prices(operation.account.environment, Market(operation.market)).get(operation.symbol)


def _profit_of(operation: Operation, price: Decimal | None, sizes: dict[str, Decimal]) -> Decimal | None:
    entry, is_inverse = operation.avg_entry_price, operation.market == Market.COINM
    size = sizes.get(operation.symbol)
    if not price or not entry or not operation.held_quantity or (is_inverse and not size):
        return None
    inverse_size = size if is_inverse and size else Decimal(0)
    return live_profit(operation.held_quantity, entry, price, operation.leg, inverse_size)


def asset_of(operation: Operation) -> str:
    """Return the asset in which the operation's result is counted."""
    return settled_in(operation.market, operation.symbol)


def signed(amount: Decimal, asset: str) -> str:
    """Return an amount of money with its sign, to the cent where the asset has cents."""
    is_coin = asset not in ("USDT", "USDC", "USD", "VST")
    shown = f"{amount:+.6f}".rstrip("0").rstrip(".") if is_coin else f"{amount.quantize(_CENTS):+f}"
    return f"{shown} {asset}"


def tone_of(amount: Decimal | None) -> str:
    """Return the class that colours an amount."""
    return "gain" if amount and amount > 0 else "loss" if amount and amount < 0 else "even"
