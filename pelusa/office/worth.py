"""What each account is worth, what it made today, and the last day's curve."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.utils.translation import gettext as _

from exchange.backoffice import NOTHING, without_secrets
from exchange.models import Account, EquityPoint
from operations.models import Operation
from pelusa.navigation import BADGES
from pelusa.office.holdings import asset_of, signed, tone_of

CURVE = timedelta(days=1)
# What a point drawn on the page is apart from the next, at most
POINTS_DRAWN = 120
WIDTH, HEIGHT = 240, 48
Point = tuple[datetime, Decimal]


@dataclass(frozen=True, slots=True)
class Card:
    """One account as the first page shows it; `line` are the points of an SVG polyline."""

    account: Account
    money: tuple[Any, str]
    equity: str
    as_of: str
    today: str
    today_tone: str
    realised: str
    realised_tone: str
    line: str
    is_falling: bool


def account_cards(now: datetime) -> list[Card]:
    """Return a card for each active account, in the order of their names: three queries."""
    return _cards(list(Account.objects.filter(is_active=True).order_by("name").defer(*without_secrets())), now)


def account_card(account: Account, now: datetime) -> Card:
    """Return the card of one account, active or not: two queries."""
    return _cards([account], now)[0]


def _cards(accounts: Sequence[Account], now: datetime) -> list[Card]:
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    points = _points(accounts, min(midnight, now - CURVE))
    realised = _realised(midnight)
    return [_card(each, points[each.pk], realised[each.pk], midnight, now) for each in accounts]


def _points(accounts: Sequence[Account], since: datetime) -> dict[int, list[Point]]:
    found: dict[int, list[Point]] = defaultdict(list)
    rows = EquityPoint.objects.filter(account__in=accounts, taken_at__gte=since).order_by("account", "taken_at")
    for account_id, taken_at, equity in rows.values_list("account_id", "taken_at", "equity"):
        found[account_id].append((taken_at, equity))
    return found


def _realised(midnight: datetime) -> dict[int, dict[str, Decimal]]:
    """Return, by account and asset, what the operations brought that ended since midnight, after fees."""
    found: dict[int, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    ended = Operation.objects.filter(status=Operation.Status.CLOSED, closed_at__gte=midnight)
    for each in ended.only("account_id", "market", "symbol", "realised_pnl", "fees"):
        found[each.account_id][asset_of(each)] += each.realised_pnl - each.fees
    return found


def _card(
    account: Account, points: Sequence[Point], realised: dict[str, Decimal], midnight: datetime, now: datetime
) -> Card:
    today = result_since(points, midnight)
    recent = [point for point in points if point[0] >= now - CURVE]
    total = sum(realised.values(), Decimal(0))
    return Card(
        account,
        BADGES[account.environment],
        f"{points[-1][1]:.2f}" if points else NOTHING,
        f"{points[-1][0]:%H:%M}" if points else "",
        signed(today, "USDT") if today is not None else NOTHING,
        tone_of(today),
        ", ".join(signed(amount, asset) for asset, amount in realised.items()) or _("nothing closed today"),
        tone_of(total),
        polyline(thinned(recent, POINTS_DRAWN)),
        len(recent) > 1 and recent[-1][1] < recent[0][1],
    )


def result_since(points: Sequence[Point], midnight: datetime) -> Decimal | None:
    """Return how much more the newest point is than the last before midnight, or else the day's first. Pure."""
    if not points:
        return None
    before = [equity for taken_at, equity in points if taken_at <= midnight]
    return points[-1][1] - (before[-1] if before else points[0][1])


def thinned(points: Sequence[Point], most: int) -> list[Point]:
    """Return at most about `most` of the points, evenly, with the newest among them. Pure."""
    step = max(-(-len(points) // most), 1)
    return list(reversed(points[::-1][::step]))


def polyline(points: Sequence[Point], width: int = WIDTH, height: int = HEIGHT) -> str:
    """Return the points as `x,y x,y` within a box, time from left to right; empty for less than two. Pure."""
    if len(points) < 2:
        return ""
    began, ended = points[0][0], points[-1][0]
    low, high = min(equity for _, equity in points), max(equity for _, equity in points)
    span, reach = (ended - began) / timedelta(seconds=1), float(high - low)
    # A line that never moved lies in the middle
    return " ".join(
        f"{(at - began) / timedelta(seconds=1) / span * width:.1f},"
        f"{(height - float(equity - low) / reach * height) if reach else height / 2:.1f}"
        for at, equity in points
    )
