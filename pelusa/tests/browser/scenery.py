"""A trader's busy day in a running office, played through the API and the webhook as anybody would."""

from datetime import UTC, datetime, timedelta
from typing import Any

from pelusa.livesystem import wait_until
from pelusa.tests.browser.office import Office

NOT_ENDED = {"created", "submitted", "pending_cancel"}
LEG = {"entry_interval": "5m", "close_interval": "5m", "leverage": 5, "size": "0.1"}
COVERED = {**LEG, "stop_loss_per_order": "2", "take_profit_per_order": "4"}
GATED = {**COVERED, "entry_confirmation_interval": "1h", "close_confirmation_interval": "1h"}
# The account's worth five minutes before, and so on for a day: no clock waits for that
EQUITY = "from pelusa.tests.browser.past import draw_a_day; draw_a_day()"


def play(office: Office) -> None:
    """Fill the office: what is held and was lost, every kind of refusal, what needs a person, candles with a gap."""
    _keep_candles(office)
    _trade(office)
    _be_refused(office)
    _run_wild(office)
    office.paper.control("prices", **{"ETH-USDT": "3036.5", "BTC-USDT": "49420"})
    office.manage("shell", "-v", "0", "-c", EQUITY)


def make_strategy(office: Office, name: str, alarm_name: str, ticker: str, **columns: Any) -> int:
    """Make a strategy of the demonstration's account; return its number."""
    account = office.api.all("/accounts/")[0]["id"]
    row = {"name": name, "alarm_name": alarm_name, "ticker": ticker, "account": account, "max_alarm_age": 300}
    return int(office.api.post("/strategies/", **row | columns)["id"])


def say(office: Office, order: str, strategy: str, **members: str) -> int:
    """Post an alarm and wait until nothing more will become of it by itself; return its number."""
    number = office.post_alarm(order, strategy, **members)
    wait_until(lambda: _has_ended(office, number), what=f"for alarm {number} to end")
    return number


def _has_ended(office: Office, number: int) -> bool:
    if office.api.get(f"/alarms/{number}/")["status"] == "received":
        return False
    answers = office.api.all("/decisions/", alarm=str(number))
    orders = [order for each in answers if each["operation"] for order in _orders_of(office, each["operation"])]
    return not any(order["status"] in NOT_ENDED for order in orders)


def _orders_of(office: Office, operation: int) -> list[dict[str, Any]]:
    return office.api.all("/orders/", operation=str(operation))


def _keep_candles(office: Office) -> None:
    """Keep a series of which two stretches were fetched, with a gap between."""
    row = office.api.post("/series/", market="usdtm", symbol="ETH-USDT", interval="5m")
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    for since, until in ((6, 5), (3, 2)):
        span = {
            "since": f"{today - timedelta(days=since):%Y-%m-%d}",
            "until": f"{today - timedelta(days=until):%Y-%m-%d}",
        }
        office.api.post(f"/series/{row['id']}/backfill/", **span)


def _trade(office: Office) -> None:
    """Win one, lose one, and hold three: one that stands well, one that stands badly, one stacked twice."""
    make_strategy(office, "Trend follower", "Trend_v3", "ETHUSDT.P", long={**GATED, "pyramiding": 2}, short=GATED)
    make_strategy(office, "Reversal", "Reversal_v2", "BTCUSDT.P", long={**COVERED, "size": "0.01"})
    for price, order in (("2990", "open long"), ("3010", "close long"), ("3010", "open long"), ("3000", "close long")):
        office.paper.control("prices", **{"ETH-USDT": price, "BTC-USDT": "50000"})
        say(office, f"order {order}", "Breakout_v1", price=price)
    say(office, "order open long", "Trend_v3")
    say(office, "indicator open long", "Trend_v3", interval="60")
    say(office, "order open long", "Trend_v3")
    say(office, "order open long", "Trend_v3")
    say(office, "order open long", "Reversal_v2", ticker="BTCUSDT.P", price="50000")


def _be_refused(office: Office) -> None:
    """Hear a no from everybody who can say it: strategies, limits, the brake, nobody at all."""
    scalper = make_strategy(office, "Scalper", "Scalp_v1", "ETHUSDT.P", long=LEG, short=LEG)
    office.api.post("/limits/", strategy=scalper, max_order_notional="200", max_daily_loss="50")
    say(office, "order open long", "Trend_v3")
    say(office, "order open long", "Scalp_v1")
    say(office, "order open long", "Scalp_v1", interval="15")
    say(office, "order close short", "Scalp_v1")
    say(office, "order open long", "Nobody_v9")
    office.api.post("/kill-switch/pull/", reason="News at eight")
    say(office, "order open long", "Breakout_v1")
    office.api.post("/kill-switch/release/", reason="The news are over")


def _run_wild(office: Office) -> None:
    """Let a strategy send more entries a minute than it may: it is switched off, and a person must look."""
    wild = make_strategy(office, "Wild one", "Wild_v1", "ETHUSDT.P", long={**LEG, "size": "0.01", "pyramiding": 9})
    office.api.post("/limits/", strategy=wild, max_entries_per_minute=1)
    say(office, "order open long", "Wild_v1")
    say(office, "order open long", "Wild_v1")
