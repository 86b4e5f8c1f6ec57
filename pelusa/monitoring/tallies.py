"""Keep what every process counted in rows, which only grow: right whichever process did the work and whoever died.

Files that processes share would need one disk for all of them, and process ids that no two containers have.
"""

import json
from collections import defaultdict
from collections.abc import Iterator

from django.db import DatabaseError, transaction
from django.db.models import F
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from exchange.tallies import BUCKETS, give_back, take
from pelusa.monitoring.models import Tally

COUNTERS = {
    "alarms": "Alarms by what became of them: received, duplicate, invalid; of the received later processed, ignored.",
    "order_steps": "Steps that orders made, by the status that they reached.",
    "refusals": "Orders that we denied or the exchange rejected, by reason and the exchange's code.",
    "exchange_errors": "Requests to the exchange that did not succeed, by kind and endpoint.",
    "exchange_requests": "Requests that asked for a place under the rate limits, by rank.",
    "rate_limit_waits": "Times that a request waited for its place.",
    "rate_limit_wait_seconds": "Seconds that requests waited for their places.",
    "rate_limit_unsent": "Requests that were not sent, as no place was free in time.",
    "rate_limit_refusals": "Requests that the exchange itself refused, as there were too many.",
}
HISTOGRAMS = {
    "webhook_seconds": "From a webhook's request to its answer, by HTTP status.",
    "alarm_to_order_seconds": "From an alarm's arrival to the commit that sends its order, by role.",
}
Amounts = dict[tuple[tuple[str, str], ...], float]
_BOUNDS = [*map(str, BUCKETS), "+Inf"]


def keep_tallies() -> None:
    """Add to the rows what this process counted since the last call; what they do not take is kept, with the error.

    In one order everywhere, so that no two processes wait for each other.
    """
    taken = take()
    try:
        with transaction.atomic():
            for (name, labels), amount in sorted(taken.items()):
                _add(name, json.dumps(labels, separators=(",", ":")), amount)
    except DatabaseError:
        give_back(taken)
        raise


def _add(name: str, labels: str, amount: float) -> None:
    rows = Tally.objects.filter(name=name, labels=labels)
    if not rows.update(amount=F("amount") + amount):
        Tally.objects.get_or_create(name=name, labels=labels)
        rows.update(amount=F("amount") + amount)


def families() -> Iterator[Metric]:
    """Yield every counter and histogram as the rows have it; one question."""
    kept: defaultdict[str, Amounts] = defaultdict(dict)
    for name, labels, amount in Tally.objects.order_by("name", "labels").values_list("name", "labels", "amount"):
        kept[name][tuple((label, value) for label, value in json.loads(labels))] = amount
    for name, words in COUNTERS.items():
        yield _counter(name, words, kept[name])
    for name, words in HISTOGRAMS.items():
        yield _histogram(name, words, kept[f"{name}_bucket"], kept[f"{name}_sum"])


def _counter(name: str, words: str, amounts: Amounts) -> CounterMetricFamily:
    names = [label for label, _ in next(iter(amounts), ())]
    family = CounterMetricFamily(f"pelusa_{name}", words, labels=names)
    for labels, amount in amounts.items():
        family.add_metric([value for _, value in labels], amount)
    return family


def _histogram(name: str, words: str, buckets: Amounts, sums: Amounts) -> HistogramMetricFamily:
    family = HistogramMetricFamily(f"pelusa_{name}", words, labels=[label for label, _ in next(iter(sums), ())])
    for labels, total in sums.items():
        counted, cumulated = 0.0, []
        for bound in _BOUNDS:
            counted += buckets.get(tuple(sorted((*labels, ("le", bound)))), 0.0)
            cumulated.append((bound, counted))
        family.add_metric([value for _, value in labels], cumulated, sum_value=total)
    return family
