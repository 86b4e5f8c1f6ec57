"""Say an event in a few words that fit a phone's lock screen, in the language that is switched on."""

from datetime import date
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.urls import reverse
from django.utils.translation import gettext as _

from exchange.rounding import plain
from operations.models import Notice, Operation, Order
from operations.states import OrderStatus
from pelusa.logs import clean
from pelusa.notifications.events import Event
from strategies.reason_names import name_of
from strategies.reasons import explain

LONGEST_TITLE = 120
LONGEST_TEXT = 600
LONGEST_TOGETHER = 1500
# Names and reasons are typed by people and told by strangers: in no service may they become a mention, a link or markup
_HARMLESS = str.maketrans({"@": "@\u200b", "<": "‹", ">": "›", "[": "(", "]": ")", "*": "∗", "`": "'", "~": "∼"})


def harmless(text: str) -> str:
    """Return a text on one line that holds no secret and no service's markup, mention or link."""
    return clean(text).translate(_HARMLESS).replace("://", ":/\u200b/")


def tell(event: Event) -> tuple[str, str]:
    """Return title and body."""
    if isinstance(event.row, Order):
        return _tell_order(event, event.row)
    return _tell_notice(event, event.row)


def _tell_order(event: Event, order: Order) -> tuple[str, str]:
    account = order.lane.account
    title = _title(account.environment, _what_befell(event, order), order.lane.symbol)
    who = f"{harmless(account.name)} · {harmless(order.operation.strategy.name)} · {order.operation.get_leg_display()}"
    said = _filled(order) if event.key.endswith(OrderStatus.FILLED) else harmless(_why(order))
    return title, _body(who, said, _link("operations_order_change", order.pk))


def _what_befell(event: Event, order: Order) -> str:
    words = {
        OrderStatus.FILLED: _("%(role)s filled"),
        OrderStatus.DENIED: _("%(role)s denied"),
        OrderStatus.REJECTED: _("%(role)s refused by the exchange"),
        OrderStatus.EXPIRED: _("%(role)s ended by the exchange"),
    }
    return words[OrderStatus(event.key.rpartition(":")[2])] % {"role": order.get_role_display()}


def _filled(order: Order) -> str:
    bought = {"BUY": _("bought"), "SELL": _("sold")}[order.side]
    price = plain(order.avg_price) if order.avg_price is not None else "–"
    said = _("%(bought)s %(quantity)s at %(price)s") % {
        "bought": bought,
        "quantity": plain(order.filled_quantity),
        "price": price,
    }
    operation = order.operation
    if operation.status == Operation.Status.CLOSED and operation.realised_pnl:
        said = f"{said}. " + _("Result %(profit)s before fees") % {"profit": _signed(operation.realised_pnl)}
    return said


def _why(order: Order) -> str:
    decision = order.decision
    facts = decision.facts if decision and decision.reason == order.reason else {}
    facts = {"code": order.code, "detail": order.detail, "symbol": order.lane.symbol} | facts
    return explain(order.reason, facts) if order.reason else order.detail


def _tell_notice(event: Event, notice: Notice) -> tuple[str, str]:
    environment = notice.account.environment if notice.account else settings.PELUSA_TRADING
    facts = notice.facts
    what = harmless(_name_of(notice.kind))
    title = _title(
        environment, _("Over: %(what)s") % {"what": what} if event.is_over else what, facts.get("symbol", "")
    )
    who = " · ".join(
        harmless(str(each)) for each in (notice.account and notice.account.name, facts.get("strategy")) if each
    )
    said = harmless(explain(notice.kind, facts))
    return title, _body(who, said, _link("operations_notice_change", notice.pk))


def _name_of(kind: str) -> str:
    names = {
        "unsettled_order": _("Order not settled"),
        "unprotected": _("Not protected"),
        "closed_unprotected": _("Closed: no protection"),
        "closed_past_trigger": _("Closed past its stop"),
        "close_ignored": _("Alarm to close not heeded"),
        "exit_refused": _("Exit refused"),
        "books_differ": _("Books differ, entries stopped"),
        "key_may_withdraw": _("The key may withdraw"),
        "key_not_checked": _("Key not checked, entries stopped"),
        "key_unread": _("Key not checked"),
        "kill_switch_on": _("Kill switch on"),
        "strategy_stopped": _("Strategy switched off"),
        "channel_unreadable": _("A channel's address cannot be read"),
        "notification_given_up": _("Notifications do not arrive"),
    }
    return names.get(kind, name_of(kind).capitalize())


def tell_day(day: date, totals: dict[str, Any]) -> tuple[str, str]:
    """Return title and body of a day's summary."""
    title = _title(settings.PELUSA_TRADING, _("Daily summary"), f"{day:%Y-%m-%d}")
    lines = [
        _("%(closed)s operations closed, result %(profit)s, fees %(fees)s"),
        _("%(filled)s orders filled, %(refusals)s refused, %(alarms)s alarms, %(notices)s notices"),
    ]
    shown = totals | {"profit": _signed(Decimal(totals["profit"])), "fees": plain(Decimal(totals["fees"]))}
    return title, _body(*(line % shown for line in lines), _link("index"))


def tell_together(messages: list[tuple[str, str]]) -> tuple[str, str]:
    """Return title and body of several messages in one, as many as fit and how many more there are."""
    if len(messages) == 1:
        return messages[0]
    lines: list[str] = []
    for title, body in messages:
        line = f"• {title}: {' '.join(body.splitlines()[:2])}"[: LONGEST_TEXT // 2]
        if sum(map(len, lines)) + len(line) > LONGEST_TOGETHER:
            break
        lines.append(line)
    if len(lines) < len(messages):
        lines.append(_("… and %(more)s more, see the back office.") % {"more": len(messages) - len(lines)})
    return _("Pelusa: %(count)s messages") % {"count": len(messages)}, "\n".join(lines)


def _title(environment: str, what: str, symbol: str) -> str:
    parts = (environment.upper(), what, harmless(symbol))
    return " · ".join(part for part in parts if part)[:LONGEST_TITLE]


def _body(*lines: str) -> str:
    # A link that was cut leads nowhere, so each line is cut for itself
    return "\n".join(line[:LONGEST_TEXT] for line in lines if line)


def _signed(amount: Decimal) -> str:
    return plain(amount) if amount <= 0 else f"+{plain(amount)}"


def _link(page: str, *keys: int) -> str:
    return f"{settings.PELUSA_URL}{reverse(f'admin:{page}', args=keys)}" if settings.PELUSA_URL else ""


def tell_test(name: str) -> tuple[str, str]:
    """Return title and body of the message that the test button sends."""
    title = _title(settings.PELUSA_TRADING, _("Test message"), "")
    return title, _body(_("The channel %(name)s works.") % {"name": harmless(name)}, _link("index"))
