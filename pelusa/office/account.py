"""An account's page: what it holds and makes, what the exchange says of it now, and whether all is well with it.

The page itself asks nobody. What the exchange must be asked for comes in parts of its own, each within a bounded time.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from time import perf_counter
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST, require_safe

from exchange.acts import tell_act
from exchange.backoffice import shown_number, without_secrets
from exchange.equity import curve
from exchange.models import Account, EquityPoint, WalletChoices
from exchange.rounding import plain
from exchange.survey import Survey, ask_balances, ask_positions, survey
from exchange.types import WALLETS, BalanceReport, Market, PositionReport
from exchange.wealth_api import POSITION_WALLETS
from market.writing import milliseconds
from operations.comparison import Coins, Holdings, Line, coins_of, holdings_of, look, markets_of
from operations.killswitch import halt, pulled_switch
from pelusa.doctor.accounts import read_patient
from pelusa.doctor.connection import try_connection
from pelusa.doctor.examine import examine_account
from pelusa.doctor.findings import Finding
from pelusa.doctor.page import COLOURS, PERMISSION, WORDS
from pelusa.office.holdings import holdings, signed, tone_of
from pelusa.office.worth import account_card
from strategies.reasons import explain

SEE = "exchange.view_account"
# Seconds for the balances, and once more for the positions
PATIENCE = 4.0
LANES_SHOWN = 100
SPANS = {"day": timedelta(days=1), "week": timedelta(days=7), "month": timedelta(days=30), "all": None}
MARKETS = dict(WalletChoices.choices)


def _account(request: HttpRequest, number: int, permission: str = SEE) -> Account:
    if not request.user.has_perms([SEE, permission]):
        raise PermissionDenied
    account = Account.objects.filter(pk=number).defer(*without_secrets()).first()
    if account is None:
        raise Http404
    return account


@require_safe
def part(request: HttpRequest, number: int, name: str) -> HttpResponse:
    """Answer with the HTML of one part as it is now."""
    read, permission = PARTS[name]
    account = _account(request, number, permission)
    return TemplateResponse(request, f"pelusa/account/{name}.html", {"account": account} | read(request, account))


def now_of(request: HttpRequest, account: Account) -> dict[str, Any]:
    """Return what our own rows say: the brake, what is frozen, what is held, and what was made today."""
    found: dict[str, Any] = {"card": account_card(account, timezone.now())}
    if request.user.has_perm("operations.view_killswitch"):
        found |= {"switch": pulled_switch(account.pk), "halt": halt()}
    if request.user.has_perm("operations.view_lane"):
        frozen = account.lanes.filter(frozen_at__isnull=False).order_by("symbol", "market")[:LANES_SHOWN]
        found["frozen"] = [(lane, explain(lane.frozen_reason, lane.frozen_facts)) for lane in frozen]
    if request.user.has_perm("operations.view_operation"):
        found["holdings"] = holdings(account=account)
    return found


def exchange_of(request: HttpRequest, account: Account) -> dict[str, Any]:
    """Return what the exchange says now: every wallet, every position, and where our books differ from it."""
    began, clock = timezone.now(), perf_counter()
    balances = survey([account], WALLETS, ask_balances, patience=PATIENCE)
    positions = survey([account], POSITION_WALLETS, ask_positions, patience=PATIENCE)
    found = {
        "asked_at": began,
        "milliseconds": round((perf_counter() - clock) * 1000),
        "balances": [_balance(each) for _, _, reports in balances.answers for each in reports if _has_any(each)],
        "positions": [_position(each) for _, _, reports in positions.answers for each in reports],
        "silent": _silent(balances, positions),
    }
    if request.user.has_perm("operations.view_lane"):
        lines, unknown = both_numbers(account, balances, positions, began)
        shown = [line for line in lines if line.ours or line.theirs or not line.is_equal]
        found |= {"lines": [_line(each) for each in shown], "empty": len(lines) - len(shown), "unknown": unknown}
    return found


def _has_any(report: BalanceReport) -> bool:
    return bool(report.balance or report.equity or report.used_margin or report.frozen)


def _silent(*surveys: Survey[Any]) -> list[tuple[Any, str]]:
    """Return which wallets did not answer, and why; each sentence once."""
    told = [(MARKETS[failure.wallet.value], failure.message) for each in surveys for failure in each.failures]
    return list(dict.fromkeys(told))


def _balance(report: BalanceReport) -> dict[str, Any]:
    parts = [(_("Available"), report.available if report.available != report.equity else None)]
    parts += [(_("In positions"), report.used_margin)]
    parts += [(_("In orders"), report.frozen), (_("Open result"), report.unrealised_pnl)]
    return {
        "market": MARKETS[report.market.value],
        "asset": report.asset,
        "equity": shown_number(report.equity),
        "parts": [(label, shown_number(value)) for label, value in parts if value],
    }


def _position(report: PositionReport) -> dict[str, Any]:
    extent = [f"{report.leverage}×"] if report.leverage else []
    extent += [report.margin_mode.value.lower()] if report.margin_mode else []
    return {
        "market": MARKETS[report.market.value],
        "symbol": report.symbol,
        "side": report.position_side.value,
        "held": shown_number(report.quantity),
        "entered_at": shown_number(report.avg_entry_price),
        "price": shown_number(report.mark_price),
        "liquidation": shown_number(report.liquidation_price) if report.liquidation_price else "",
        "extent": " ".join(extent),
        "profit": f"{report.unrealised_pnl:+f}",
        "tone": tone_of(report.unrealised_pnl),
    }


def both_numbers(
    account: Account, balances: Survey[BalanceReport], positions: Survey[PositionReport], began: datetime
) -> tuple[list[Line], list[Any]]:
    """Return our number and theirs for each lane, and the products of which they did not tell."""
    theirs: dict[Any, Holdings | Coins] = {wallet: holdings_of(told) for _, wallet, told in positions.answers}
    theirs |= {wallet: coins_of(told) for _, wallet, told in balances.answers if wallet == Market.SPOT}
    markets = markets_of(account)
    lines = [line for each in markets if each in theirs for line in look(account, each, theirs[each], began)]
    return lines, [MARKETS[each.value] for each in markets if each not in theirs]


def _line(line: Line) -> dict[str, Any]:
    words = {"success": _("equal"), "danger": _("they differ"), "warning": _("in motion")}
    colour = "success" if line.is_equal else "danger" if line.is_certain else "warning"
    return {
        "market": MARKETS[line.market],
        "symbol": line.symbol,
        "side": line.side,
        "ours": plain(line.ours),
        "theirs": plain(line.theirs),
        "colour": colour,
        "word": words[colour],
    }


def doctor_of(request: HttpRequest, account: Account) -> dict[str, Any]:
    """Return what the doctor finds of this account and its strategies."""
    return {"findings": _shown(examine_account(account.pk, seconds=2 * PATIENCE))}


def _shown(findings: list[Finding] | tuple[Finding, ...]) -> list[tuple[Any, str, Finding]]:
    return [(WORDS[each.level], COLOURS[each.level], each) for each in findings]


PARTS: dict[str, tuple[Callable[[HttpRequest, Account], dict[str, Any]], str]] = {
    "now": (now_of, SEE),
    "exchange": (exchange_of, SEE),
    "doctor": (doctor_of, PERMISSION),
}


@require_safe
def equity(request: HttpRequest, number: int) -> HttpResponse:
    """Answer the account's curve: of a day, a week, a month or all there is."""
    account, span = _account(request, number), request.GET.get("span", "week")
    if span not in SPANS:
        raise Http404
    back = SPANS[span]
    points = curve(account, timezone.now() - back if back else None)
    told = [[milliseconds(point.taken_at), plain(point.equity)] for point in points]
    return JsonResponse({"points": told, "words": _change(points), "tone": tone_of(_gained(points))})


def _gained(points: list[EquityPoint]) -> Decimal:
    return points[-1].equity - points[0].equity if points else Decimal(0)


def _change(points: list[EquityPoint]) -> str:
    """Return in words from what to what the account went; deposits and withdrawals are part of it."""
    if not points:
        return str(_("Nothing is noted yet: a point is taken every five minutes."))
    first, last = points[0], points[-1]
    words = _("%(gained)s since %(since)s UTC, from %(first)s to %(last)s")
    return str(words) % {
        "gained": signed(_gained(points), "USDT"),
        "since": f"{first.taken_at:%Y-%m-%d %H:%M}",
        "first": f"{first.equity:.2f}",
        "last": f"{last.equity:.2f}",
    }


@require_POST
def test_connection(request: HttpRequest, number: int) -> HttpResponse:
    """Try the account's connection and show what came of each question."""
    account = _account(request, number, PERMISSION)
    patient = read_patient(account.pk)
    steps = try_connection(patient) if patient else []
    tell_act("connection_tested", account, who=request.user)
    context = admin.site.each_context(request) | {
        "title": _("Connection of %(account)s") % {"account": account.name},
        "account": account,
        "steps": [(step, _shown(step.findings)) for step in steps],
    }
    return TemplateResponse(request, "pelusa/account/test.html", context)


def urls() -> list[URLPattern]:
    """Return the address of each part, of the curve and of the test."""
    view = admin.site.admin_view(part)
    parts = [path(f"account/<int:number>/{name}/", view, {"name": name}, name=f"account_{name}") for name in PARTS]
    return [
        *parts,
        path("account/<int:number>/equity/", admin.site.admin_view(equity), name="account_equity"),
        path("account/<int:number>/test/", admin.site.admin_view(test_connection), name="account_test"),
    ]
