"""Orders at the exchange that carry Pelusa's mark and that these books do not know: something was lost.

A database that was restored from a dump forgets what was sent after the dump; a second Pelusa on the same account sends
what the first has never heard of. Either way no figure of ours can be believed, so the account's kill switch is pulled,
and only a person releases it. Nothing is taken into the books, and nothing is traded to make them agree.

Stops and targets bear no client order id on the perpetuals, so theirs are not found; what they trade shows as a
difference of the positions.
"""

import re
from datetime import datetime, timedelta

from exchange.connection import connect
from exchange.types import Market, OrderReport
from operations.killswitch import pull
from operations.models import Lane, Order

OUR_MARK = re.compile(r"p[0-9a-f]{32}")
WHO = "Pelusa"
# An order may have been sent a moment before the last look and be listed a moment after it
MARGIN = timedelta(minutes=2)
# How far back a lane is looked at of which no look is known, and at most
FIRST_LOOK = timedelta(days=1)
FURTHEST_LOOK = timedelta(days=7)


def stop_where_orders_are_unknown(lane: Lane, now: datetime) -> bool:
    """Pull the account's kill switch where the exchange knows orders of ours that we do not; return whether it does.

    Looks at what came since the lane was last compared. Raises an exchange's error when it cannot be asked.
    """
    unknown = unknown_orders(lane, since_of(lane, now), now)
    if unknown:
        pull(lane.account, WHO, _why(lane, unknown))
    return bool(unknown)


def since_of(lane: Lane, now: datetime) -> datetime:
    """Return from when on the exchange's orders are looked through."""
    since = lane.compared_at - MARGIN if lane.compared_at else now - FIRST_LOOK
    return max(since, now - FURTHEST_LOOK)


def unknown_orders(lane: Lane, since: datetime, now: datetime) -> list[OrderReport]:
    """Return the exchange's orders with a client id as we make them, and no row of ours that says it was sent."""
    client, market = connect(lane.account), Market(lane.market)
    reports = client.past_orders(market, lane.symbol, start=since, end=now + MARGIN)
    marked = {each.client_order_id: each for each in reports if OUR_MARK.fullmatch(each.client_order_id or "")}
    # After the exchange's answer: a row is committed as sent before its order is
    sent = Order.objects.filter(client_order_id__in=list(marked), submitted_at__isnull=False)
    return [marked[name] for name in sorted(marked.keys() - set(sent.values_list("client_order_id", flat=True)))]


def _why(lane: Lane, unknown: list[OrderReport]) -> str:
    return (
        f"the exchange knows {len(unknown)} orders of Pelusa in {lane.symbol} that these books lack, among them"
        f" {unknown[0].exchange_order_id}: a database was restored, or a second Pelusa trades on this account."
        " Compare orders and positions with the exchange before you release it."
    )
