"""What an office of five minutes ago cannot have: yesterday's equity, written as the five-minute task would have."""

import math
from datetime import timedelta
from decimal import Decimal

from django.utils import timezone

from exchange.equity import moment_of, take_points
from exchange.models import Account, EquityPoint, EquitySnapshot

POINTS = 24 * 12


def draw_a_day() -> None:
    """Write a day's points of every account up to the newest, a slow wave that ends where the account stands.

    What was taken before the scenery pinned its prices is of another market, and goes.
    """
    EquityPoint.objects.all().delete()
    EquitySnapshot.objects.all().delete()
    take_points(timezone.now())
    for account in Account.objects.filter(is_active=True):
        newest = EquityPoint.objects.filter(account=account).order_by("-taken_at").first()
        if newest:
            past = [_point(newest, back) for back in range(1, POINTS)]
            EquityPoint.objects.bulk_create(past, ignore_conflicts=True)


def _point(newest: EquityPoint, back: int) -> EquityPoint:
    """Return the point that many times five minutes before; the same on every machine."""
    away = 1.1 * math.sin(back / 41) + 0.35 * math.sin(back / 7) - back / 160
    equity = newest.equity * (1 + Decimal(f"{away:.4f}") / 100)
    moment = moment_of(newest.taken_at - timedelta(minutes=5 * back))
    return EquityPoint(account=newest.account, taken_at=moment, equity=equity)
