"""Keep what every account is worth: a point each five minutes, thinned as it ages, read as a curve.

A point stands for all wallets of its account or is not taken. The row of a moment is unique, so that a task that runs
twice asks once, and one that never ran leaves a gap.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from itertools import pairwise

from django.db import transaction
from django.db.models import F, QuerySet, Window
from django.db.models.functions import RowNumber
from loguru import logger

from exchange.connection import connect_to
from exchange.errors import ExchangeError
from exchange.models import Account, EquityPoint, EquitySnapshot
from exchange.survey import Failure, Survey, ask_balances, survey
from exchange.types import WALLETS, BalanceReport, Market
from exchange.valuation import Worth, appraise, needs_prices

EVERY = timedelta(minutes=5)
# How long each point is kept, and after that one each hour; then one each day, for ever
EVERY_POINT_FOR = timedelta(days=7)
HOURLY_FOR = timedelta(days=90)
MOST_POINTS = 500
# Nobody waits for it, but the next one is due in five minutes
PATIENCE = 60.0
BATCH, MOST_THINNED = 500, 20_000
_SECRETS = ("api_key", "api_secret")
_DIGITS, _WIDE = Decimal("1e-12"), Context(prec=60)
_LARGEST = Decimal("1e16")

Prices = dict[str, Decimal]


def moment_of(now: datetime) -> datetime:
    """Return the start of the five minutes, counted in UTC, in which a moment lies."""
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + (now - midnight) // EVERY * EVERY


def take_points(now: datetime) -> int:
    """Take the point of these five minutes for every active account that has none; return how many were taken."""
    moment = moment_of(now)
    accounts = list(Account.objects.filter(is_active=True).exclude(equity_points__taken_at=moment).defer(*_SECRETS))
    found = survey(accounts, WALLETS, ask_balances, patience=PATIENCE)
    prices = {environment: _prices(environment, found) for environment in {each.environment for each in accounts}}
    return sum(_take(account, moment, found, prices[account.environment]) for account in accounts)


def _prices(environment: str, found: Survey[BalanceReport]) -> Prices | None:
    """Return the last prices, one list for all accounts of an environment; None when they cannot be had."""
    told = [report for account, _, reports in found.answers if account.environment == environment for report in reports]
    is_demo = environment == Account.Environment.VST
    if not needs_prices(told, is_demo=is_demo):
        return {}
    try:
        return connect_to(environment).prices(Market.USDTM if is_demo else Market.SPOT)
    except ExchangeError as error:
        logger.warning("no equity of {} is noted, its prices are not known: {}", environment, error)
        return None


def _take(account: Account, moment: datetime, found: Survey[BalanceReport], prices: Prices | None) -> bool:
    reports = [report for each, _, told in found.answers if each.pk == account.pk for report in told]
    failures = [failure for failure in found.failures if failure.account.pk == account.pk]
    has_answer = any(each.pk == account.pk for each, *_ in found.answers)
    is_demo = account.environment == Account.Environment.VST
    is_valued = prices is not None or not needs_prices(reports, is_demo=is_demo)
    if not has_answer or not is_valued or not all(failure.is_final for failure in failures):
        _tell_gap(account, failures)
        return False
    held = [report for report in reports if report.balance or report.equity]
    worth = appraise(held, prices or {}, is_demo=is_demo)
    return _keep(account, moment, worth, [failure.wallet.value for failure in failures])


def _tell_gap(account: Account, failures: Iterable[Failure]) -> None:
    said = "; ".join(f"{failure.wallet.value}: {failure.message}" for failure in failures)
    logger.warning("account {} has no equity point: {}", account.pk, said or "its prices are not known")


def _keep(account: Account, moment: datetime, worth: Worth, refused: list[str]) -> bool:
    """Write a point and its rows in one commit, unless another worker was faster."""
    values = [value for _, value in worth.values if value is not None]
    if any(abs(each) >= _LARGEST for each in (worth.total, *values)):
        logger.error("account {} is worth more than a row holds: no equity point", account.pk)
        return False
    columns = {"equity": _stored(worth.total), "unvalued": worth.unvalued, "refused": refused}
    with transaction.atomic():
        _, is_new = EquityPoint.objects.get_or_create(account=account, taken_at=moment, defaults=columns)
        if is_new:
            rows = [_row(account, moment, report, value) for report, value in worth.values]
            # Assets whose names differ in case alone are one to MySQL
            EquitySnapshot.objects.bulk_create(rows, ignore_conflicts=True)
    return is_new


def _row(account: Account, moment: datetime, report: BalanceReport, value: Decimal | None) -> EquitySnapshot:
    return EquitySnapshot(
        account=account,
        market=report.market.value,
        asset=report.asset[:32],
        taken_at=moment,
        balance=_stored(report.balance),
        equity=_stored(report.equity),
        available=_stored(report.available),
        used_margin=_stored(report.used_margin),
        unrealised_pnl=_stored(report.unrealised_pnl),
        value=None if value is None else _stored(value),
    )


def _stored(amount: Decimal) -> Decimal:
    """Return an amount to the twelve places that a column holds."""
    return amount.quantize(_DIGITS, context=_WIDE)


def curve(account: Account, since: datetime | None = None, until: datetime | None = None) -> list[EquityPoint]:
    """Return the points of `since <= taken_at < until`, oldest first: 500 at most, thinned evenly, with the newest."""
    points = EquityPoint.objects.filter(account=account)
    points = points.filter(taken_at__gte=since) if since else points
    points = points.filter(taken_at__lt=until) if until else points
    step = max(-(-points.count() // MOST_POINTS), 1)
    place = Window(RowNumber(), order_by=F("taken_at").desc())
    kept = points.annotate(place=place).annotate(rest=F("place") % step).filter(rest=1 % step)
    return list(kept.order_by("taken_at"))


def superfluous(moments: Sequence[datetime], now: datetime) -> list[datetime]:
    """Return which of the moments (ascending) are dropped: all but the last of an hour, and later of a day.

    The borders lie at midnight UTC, so that no hour or day is ever thinned by half. Pure.
    """
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    fine, hourly = today - EVERY_POINT_FOR, today - HOURLY_FOR

    def span(moment: datetime) -> datetime:
        if moment >= fine:
            return moment
        hour = moment.replace(minute=0, second=0, microsecond=0)
        return hour if moment >= hourly else hour.replace(hour=0)

    return [one for one, following in pairwise(moments) if span(one) == span(following)]


def thin(now: datetime, most: int = MOST_THINNED) -> int:
    """Drop superfluous points, at most `most` in a run; return how many. The next run goes on where this one ended."""
    dropped = 0
    for account_id in Account.objects.order_by("pk").values_list("pk", flat=True):
        points = EquityPoint.objects.filter(account_id=account_id)
        old = superfluous(list(points.order_by("taken_at").values_list("taken_at", flat=True)), now)
        old = old[: most - dropped]
        for start in range(0, len(old), BATCH):
            _drop(points, account_id, old[start : start + BATCH])
        dropped += len(old)
    return dropped


def _drop(points: QuerySet[EquityPoint], account_id: int, moments: Sequence[datetime]) -> None:
    with transaction.atomic():
        EquitySnapshot.objects.filter(account_id=account_id, taken_at__in=moments).delete()
        points.filter(taken_at__in=moments).delete()
