"""What is held would bring now. Pure: Decimal in, Decimal out."""

from decimal import Decimal

from operations.books import ZERO, Execution, book


def live_profit(held: Decimal, entered_at: Decimal, price: Decimal, leg: str, contract_size: Decimal = ZERO) -> Decimal:
    """Return the profit, before fees, of leaving `held` at `price`: in the quote asset, on COIN-M in the coin.

    `held` in base units, on COIN-M in contracts of `contract_size` quote units; `entered_at` is the average entry.
    """
    round_trip = (Execution(True, entered_at, held, ZERO), Execution(False, price, held, ZERO))
    return book(round_trip, leg, contract_size).realised_pnl


def profit_percent(entered_at: Decimal, price: Decimal, leg: str) -> Decimal:
    """Return how far the price moved in the leg's favour since the entry, in percent, without leverage."""
    moved = (price - entered_at) / entered_at * 100
    return moved if leg == "long" else -moved
