"""The equity curve: what a point stands for, when there is none, how it is thinned and read."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from exchange import bingx, equity, tasks
from exchange.models import Account, EquityPoint, EquitySnapshot
from exchange.tests import recordings
from exchange.tests.scripted_server import Received, ScriptedServer, Step, answer, ok, refusal
from exchange.types import BalanceReport, Market
from exchange.valuation import appraise, needs_prices
from pelusa.livesystem import free_port
from pelusa.testing import DATABASES, PaperExchange, make_account
from pelusa.tests.making import client_of, make_equity

pytestmark = pytest.mark.django_db(databases=DATABASES)
D = Decimal
NOW = datetime.now(UTC)
TODAY = NOW.replace(hour=0, minute=0, second=0, microsecond=0)
SPOT, COIN = "/openApi/spot/v1/account/balance", "/openApi/cswap/v1/user/balance"
TICKER = "/openApi/spot/v1/ticker/24hr"
RECORDED = {
    "/openApi/swap/v3/user/balance": recordings.ccxt("fetchBalance", "swap fetch balance"),
    COIN: recordings.vendor_docs("CoinBalances"),
    SPOT: recordings.ccxt("fetchBalance", "spot fetchBalance"),
    "/openApi/contract/v1/balance": recordings.vendor_docs("StandardBalances"),
    TICKER: recordings.bingx_net("Spot/ExchangeData/GetTickers"),
}
# 194.8212 + 1.9219, 0.14428116 BTC at 42215.15, 59.049459260000006 of spot and the standard contract's
WORTH = D("196.7431") + D("0.14428116") * D("42215.15") + D("59.049459260000006") + D("122607.35137903")


@pytest.fixture(autouse=True)
def no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bingx, "READ_PAUSES", (0.01, 0.01))


@pytest.fixture
def live(settings: Any) -> Iterator[ScriptedServer]:
    with ScriptedServer(respond=recorded) as server:
        point(settings, "live", server.url)
        yield server


def recorded(request: Received) -> Step:
    return answer(RECORDED[request.path])


def point(settings: Any, environment: str, url: str) -> None:
    settings.BINGX_URLS = settings.BINGX_URLS | {environment: url}
    settings.PACED_ENVIRONMENTS = ()


def an_account(name: str = "main", environment: str = "live", **columns: Any) -> Account:
    keys = {"api_key": f"key of {name}", "api_secret": f"secret of {name}"}
    return Account.objects.create(name=name, environment=environment, **keys | columns)


# Values


def held(asset: str, amount: str, market: Market = Market.SPOT) -> BalanceReport:
    return BalanceReport(market, asset, D(amount), D(amount), D(amount))


def test_coins_are_worth_their_last_price_and_a_loss_counts() -> None:
    reports = [held("USDT", "100"), held("BTC", "0.5", Market.COINM), held("USDC", "-2")]
    worth = appraise(reports, {"BTC-USDT": D(40000), "USDC-USDT": D("0.999")})
    assert (worth.total, worth.unvalued) == (D("20098.002"), [])


def test_what_has_no_price_is_named_and_never_guessed() -> None:
    worth = appraise([held("USDT", "1"), held("USDC", "5"), held("CHEEMS", "0")], {})
    assert (worth.total, worth.unvalued) == (D(1), ["spot USDC"])
    assert [value for _, value in worth.values] == [1, None, 0]


def test_demo_money_is_money_among_demo_accounts_alone() -> None:
    assert appraise([held("VST", "7")], {}, is_demo=True).total == 7
    assert appraise([held("VST", "7")], {}).unvalued == ["spot VST"]
    assert needs_prices([held("VST", "7")])
    assert not needs_prices([held("VST", "7")], is_demo=True)
    assert not needs_prices([held("USDT", "7"), held("BTC", "0")])


# Points


def test_a_point_is_the_worth_of_all_wallets_with_a_row_for_each_asset(live: ScriptedServer) -> None:
    account = an_account()
    assert equity.take_points(NOW) == 1
    taken = EquityPoint.objects.get()
    assert (taken.account, taken.taken_at) == (account, equity.moment_of(NOW))
    assert abs(taken.equity - WORTH) < D("1e-9")
    assert (taken.unvalued, taken.refused) == (["spot ADA", "spot LTC"], [])
    rows = {(row.market, row.asset): row for row in EquitySnapshot.objects.all()}
    assert set(rows) == {
        ("usdtm", "USDT"),
        ("coinm", "BTC"),
        ("spot", "USDT"),
        ("spot", "ADA"),
        ("spot", "LTC"),
        ("standard", "USDT"),
    }
    assert rows["spot", "ADA"].value is None
    assert (rows["usdtm", "USDT"].used_margin, rows["usdtm", "USDT"].unrealised_pnl) == (D("1.0602"), D("1.9219"))
    assert rows["coinm", "BTC"].value is not None
    assert abs(rows["coinm", "BTC"].value - D("6090.8508")) < D("0.001")


def test_five_minutes_have_one_point_however_often_the_task_runs(live: ScriptedServer) -> None:
    an_account()
    moment = equity.moment_of(NOW)
    assert equity.take_points(moment) == 1
    asked = len(live.received)
    assert equity.take_points(moment + timedelta(minutes=4, seconds=59)) == 0
    assert len(live.received) == asked
    assert equity.take_points(moment + timedelta(minutes=5)) == 1
    assert EquityPoint.objects.count() == 2


def test_of_two_workers_in_the_same_five_minutes_one_writes(live: ScriptedServer) -> None:
    account = an_account()
    taken = make_equity(account, equity.moment_of(NOW))
    worth = appraise([held("USDT", "5")], {})
    assert not equity._keep(account, equity.moment_of(NOW), worth, [])
    assert list(EquityPoint.objects.values_list("pk", "equity")) == [(taken.pk, D(1000))]
    assert EquitySnapshot.objects.count() == 1


def test_a_wallet_that_does_not_answer_leaves_a_gap_and_never_a_dip(live: ScriptedServer) -> None:
    an_account()
    live.respond = lambda request: answer({}, status=500) if request.path == COIN else recorded(request)
    assert equity.take_points(NOW) == 0
    assert not EquityPoint.objects.exists()
    assert not EquitySnapshot.objects.exists()
    live.respond = recorded
    assert equity.take_points(NOW) == 1


def test_a_wallet_that_is_closed_to_the_key_is_named_with_the_point(live: ScriptedServer) -> None:
    an_account()
    live.respond = lambda request: refusal(100004, "Permission denied") if request.path == COIN else recorded(request)
    assert equity.take_points(NOW) == 1
    assert EquityPoint.objects.get().refused == ["coinm"]
    assert not EquitySnapshot.objects.filter(market="coinm").exists()


def test_a_key_that_opens_nothing_has_no_curve(live: ScriptedServer) -> None:
    an_account()
    live.respond = lambda request: refusal(100413, "Incorrect apiKey")
    assert equity.take_points(NOW) == 0
    assert not EquityPoint.objects.exists()


def test_without_prices_there_is_no_point_where_one_is_needed(live: ScriptedServer) -> None:
    an_account()
    live.respond = lambda request: answer({}, status=500) if request.path == TICKER else recorded(request)
    assert equity.take_points(NOW) == 0
    rows = {SPOT: {"balances": []}, COIN: []}
    live.respond = lambda request: ok(rows[request.path]) if request.path in rows else recorded(request)
    asked = len(live.received)
    assert equity.take_points(NOW) == 1
    assert TICKER not in {request.path for request in live.received[asked:]}


def test_one_account_that_is_away_keeps_no_other_from_its_point(live: ScriptedServer, settings: Any) -> None:
    point(settings, "paper", f"http://127.0.0.1:{free_port()}")
    there, _ = an_account(), an_account("lost", "paper")
    assert equity.take_points(NOW) == 1
    assert EquityPoint.objects.get().account == there


def test_an_account_that_is_switched_off_is_not_asked(live: ScriptedServer) -> None:
    an_account(is_active=False)
    assert equity.take_points(NOW) == 0
    assert not live.received


def test_amounts_beyond_twelve_places_and_by_the_quadrillion_are_kept(live: ScriptedServer) -> None:
    an_account()
    shaped = recordings.bingx_net("Spot/Account/GetBalances")
    tiny = {"asset": "DUST", "free": "0.00000000000000237300", "locked": "0"}
    many = {"asset": "MANY", "free": "987654321098765432109876", "locked": "0"}
    balances = {"balances": [*shaped["data"]["balances"], tiny, many]}
    live.respond = lambda request: ok(balances) if request.path == SPOT else recorded(request)
    assert equity.take_points(NOW) == 1
    assert EquitySnapshot.objects.filter(asset__in=["CHEEMS", "DUST", "MANY"]).count() == 3
    assert {"spot CHEEMS", "spot DUST", "spot MANY"} == set(EquityPoint.objects.get().unvalued)


def test_a_worth_that_no_row_holds_is_not_written(live: ScriptedServer) -> None:
    account = an_account()
    assert not equity._keep(account, NOW, appraise([held("USDT", "1e16")], {}), [])
    assert not EquityPoint.objects.exists()


def test_the_task_takes_the_point_of_a_paper_account(paper: PaperExchange) -> None:
    make_account()
    tasks.take_equity_points()
    taken = EquityPoint.objects.get()
    assert taken.refused == []
    # 100000 USDT on the perpetuals and on spot, and coins beside them
    assert taken.equity > 200_000
    assert {"usdtm", "coinm", "spot"} <= set(EquitySnapshot.objects.values_list("market", flat=True))


def test_the_database_keeps_one_point_for_a_moment() -> None:
    account = an_account()
    make_equity(account)
    with pytest.raises(IntegrityError), transaction.atomic():
        make_equity(account)


# Thinning


def every(minutes: int, start: datetime, end: datetime) -> list[datetime]:
    count = int((end - start) / timedelta(minutes=minutes))
    return [start + timedelta(minutes=minutes * number) for number in range(count)]


def test_points_stand_every_five_minutes_for_a_week_then_hourly_then_daily() -> None:
    moments = every(5, TODAY - timedelta(days=93), TODAY)
    dropped = set(equity.superfluous(moments, NOW))
    kept = [moment for moment in moments if moment not in dropped]
    fine = [moment for moment in kept if moment >= TODAY - timedelta(days=7)]
    hourly = [moment for moment in kept if TODAY - timedelta(days=90) <= moment < TODAY - timedelta(days=7)]
    daily = [moment for moment in kept if moment < TODAY - timedelta(days=90)]
    assert len(fine) == 7 * 288
    assert len(hourly) == 83 * 24
    assert {moment.minute for moment in hourly} == {55}
    assert [(moment.hour, moment.minute) for moment in daily] == [(23, 55)] * 3


def test_thinning_again_drops_nothing_more() -> None:
    moments = every(5, TODAY - timedelta(days=92), TODAY - timedelta(days=85))
    dropped = set(equity.superfluous(moments, NOW))
    assert dropped
    assert equity.superfluous([moment for moment in moments if moment not in dropped], NOW) == []


def test_a_lone_point_is_kept_however_old() -> None:
    assert equity.superfluous([TODAY - timedelta(days=900)], NOW) == []
    assert equity.superfluous([], NOW) == []


def test_points_go_with_their_snapshots_in_bounded_steps_and_no_other_account_s(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(equity, "BATCH", 4)
    old = TODAY - timedelta(days=30)
    one, other = an_account("one"), an_account("other")
    for moment in every(5, old, old + timedelta(hours=1)):
        make_equity(one, moment)
    make_equity(other, old)
    make_equity(one, NOW - timedelta(minutes=10))
    make_equity(one, NOW - timedelta(minutes=5))
    assert equity.thin(NOW, most=7) == 7
    assert EquityPoint.objects.filter(account=one).count() == 7
    tasks.thin_equity_points()
    assert equity.thin(NOW) == 0
    left = [old + timedelta(minutes=55), NOW - timedelta(minutes=10), NOW - timedelta(minutes=5)]
    for model in (EquityPoint, EquitySnapshot):
        assert list(model.objects.filter(account=one).order_by("taken_at").values_list("taken_at", flat=True)) == left
        assert model.objects.filter(account=other).count() == 1


# The curve


def url_of(account: Account) -> str:
    return f"/api/v1/accounts/{account.pk}/equity/"


def many_points(account: Account, count: int) -> list[datetime]:
    moments = [TODAY + timedelta(minutes=5 * number) for number in range(count)]
    points = [EquityPoint(account=account, taken_at=at, equity=D(number)) for number, at in enumerate(moments)]
    EquityPoint.objects.bulk_create(points)
    return moments


@pytest.mark.parametrize(("stored", "step"), [(1, 1), (500, 1), (501, 2), (1000, 2), (1001, 3), (2880, 6)])
def test_a_curve_has_five_hundred_points_at_most_evenly_and_the_newest(stored: int, step: int) -> None:
    account = an_account()
    moments = many_points(account, stored)
    found = [each.taken_at for each in equity.curve(account)]
    assert found == moments[::-1][::step][::-1]
    assert len(found) <= 500
    assert found[-1] == moments[-1]


def test_a_curve_costs_two_queries_whatever_its_length(django_assert_num_queries: Any) -> None:
    account = an_account()
    many_points(account, 1200)
    with django_assert_num_queries(2):
        equity.curve(account)


def test_the_curve_is_told_oldest_first_as_text_between_two_moments() -> None:
    account, other = an_account(), an_account("other")
    first, second, third = NOW - timedelta(hours=3), NOW - timedelta(hours=2), NOW - timedelta(hours=1)
    make_equity(other, second, "7")
    make_equity(account, third, "3")
    make_equity(account, first, "1")
    make_equity(account, second, "2000.50", unvalued=["spot XYZ"], refused=["coinm"])
    client = client_of("viewer")
    told = client.get(url_of(account)).json()
    assert (told["account"], told["quote"]) == (account.pk, "USDT")
    assert [each["equity"] for each in told["points"]] == ["1", "2000.5", "3"]
    assert told["points"][1]["unvalued"] == ["spot XYZ"]
    assert told["points"][1]["refused"] == ["coinm"]
    bounds = {"since": second.isoformat(), "until": third.isoformat()}
    assert [each["equity"] for each in client.get(url_of(account), bounds).json()["points"]] == ["2000.5"]


def test_a_curve_of_nothing_is_empty() -> None:
    assert client_of("viewer").get(url_of(an_account())).json()["points"] == []


@pytest.mark.parametrize(
    ("query", "field"),
    [({"since": "yesterday"}, "since"), ({"since": "2026-02-02T00:00Z", "until": "2026-02-02T00:00Z"}, "until")],
)
def test_bounds_that_make_no_sense_are_named(query: dict[str, str], field: str) -> None:
    found = client_of("viewer").get(url_of(an_account()), query)
    assert found.status_code == 400
    assert list(found.json()["error"]["fields"]) == [field]


def test_no_account_has_no_curve() -> None:
    assert client_of("viewer").get("/api/v1/accounts/4711/equity/").status_code == 404


def test_an_account_with_a_curve_is_kept() -> None:
    account = an_account()
    make_equity(account)
    found = client_of("operator").delete(f"/api/v1/accounts/{account.pk}/")
    assert (found.status_code, found.json()["error"]["code"]) == (409, "conflict")
    assert Account.objects.filter(pk=account.pk).exists()
