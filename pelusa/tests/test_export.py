"""Lists as files: what the filters show, for whoever may see it; no formulas, no secrets, and it is told."""

import csv
import io
import json
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from django.contrib import admin
from django.db import connections
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from alarms.models import Alarm
from exchange.backoffice import Ledger
from exchange.models import Account
from pelusa.audit.rows import AuditEntry
from pelusa.office import export
from pelusa.testing import DATABASES
from pelusa.tests.browsing import browser_of, page
from pelusa.tests.making import make_account, make_alarm, make_equity, make_history
from pelusa.tests.planted import planted

pytestmark = pytest.mark.django_db(databases=DATABASES)

LISTS = {
    "alarms.alarm",
    "exchange.equitypoint",
    "exchange.equitysnapshot",
    "operations.decision",
    "operations.fill",
    "operations.operation",
    "operations.order",
    "pelusa.auditentry",
}


def address(name: str = "alarms.alarm", query: str = "") -> str:
    return reverse("export", args=name.split(".")) + query


def text_of(kind: str, name: str = "alarms.alarm", query: str = "", who: str = "superuser") -> str:
    answer = browser_of(who).post(address(name, query), {"format": kind})
    assert answer.status_code == 200, answer.content
    return b"".join(answer.streaming_content).decode()  # type: ignore[attr-defined]


def rows_of(name: str = "alarms.alarm", query: str = "") -> list[dict[str, Any]]:
    return list(json.loads(text_of("json", name, query)))


def cells_of(name: str = "alarms.alarm") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text_of("csv", name).removeprefix("\ufeff"), newline="")))


def test_every_list_of_the_books_can_be_downloaded_and_no_other() -> None:
    found = {page for page in admin.site._registry.values() if isinstance(page, Ledger) and page.exported}
    assert {page.opts.label_lower for page in found} == LISTS
    assert browser_of().post(address("exchange.account"), {"format": "csv"}).status_code == 404
    assert browser_of().post(address("operations.lane"), {"format": "csv"}).status_code == 404


@pytest.mark.parametrize("name", sorted(LISTS))
def test_both_files_hold_each_row_with_the_columns_that_the_list_names(name: str) -> None:
    make_history()
    make_equity(Account.objects.get())
    # The audit's own entry is written before its file
    told, cells = rows_of(name), cells_of(name)
    assert told
    exported = next(page.exported for page in admin.site._registry.values() if page.opts.label_lower == name)  # type: ignore[attr-defined]
    assert tuple(told[0]) == tuple(cells[0]) == exported
    assert len(cells) == len(told) + (name == "pelusa.auditentry")


def test_the_file_holds_what_the_filters_and_the_search_show() -> None:
    for status, ticker in (("ignored", "BTCUSDT.P"), ("processed", "BTCUSDT.P"), ("processed", "ETHUSDT.P")):
        make_alarm(status=status, ticker=ticker)
    assert len(rows_of()) == 3
    assert {row["ticker"] for row in rows_of(query="?status__exact=processed&q=ETH")} == {"ETHUSDT.P"}
    assert rows_of(query="?status__exact=invalid") == []
    assert browser_of().post(address(query="?received_at__gte=nonsense"), {"format": "csv"}).status_code == 400


def test_the_newest_come_first_block_by_block_and_no_more_than_the_bound() -> None:
    keys = [make_alarm().pk for _ in range(7)]
    found = [key for (key,) in export.rows_of(Alarm.objects.all(), ("id",), most=5)]
    assert found == keys[:1:-1]


def test_no_block_is_read_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [make_alarm().pk for _ in range(5)]
    monkeypatch.setattr(export, "BLOCK", 2)
    with CaptureQueriesContext(connections["alarms"]) as asked:
        assert [key for (key,) in export.rows_of(Alarm.objects.all(), ("id",))] == keys[::-1]
    assert len(asked) == 3


def test_times_are_utc_and_money_keeps_its_digits_in_either_file() -> None:
    make_history()
    [told], [cells] = rows_of("operations.fill"), cells_of("operations.fill")
    assert told["filled_at"] == cells["filled_at"] == "2026-11-22T10:00:00Z"
    assert datetime.fromisoformat(told["filled_at"]).tzinfo
    assert told["price"] == cells["price"] == "50000.1"
    assert export.cell_of(Decimal("-0.000000010000")) == "-0.00000001"


def test_a_formula_in_an_alarm_is_text_in_the_sheet() -> None:
    make_alarm(strategy="=HYPERLINK(1)", raw="@SUM(A1)", price=Decimal(-5))
    [cells] = cells_of()
    assert (cells["strategy"], cells["raw"], cells["price"]) == ("'=HYPERLINK(1)", "'@SUM(A1)", "-5")
    assert rows_of()[0]["strategy"] == "=HYPERLINK(1)"


def test_only_who_may_see_a_list_may_take_it() -> None:
    make_history()
    assert text_of("csv", who="viewer")
    for who, name in (("", "alarms.alarm"), ("trader", "pelusa.auditentry")):
        assert browser_of(who).post(address(name), {"format": "csv"}).status_code == 403
    assert not AuditEntry.objects.filter(act="exported", object_type="pelusa.auditentry").exists()


def test_a_link_takes_nothing_and_another_format_is_refused() -> None:
    assert browser_of().get(address()).status_code == 405
    assert browser_of().post(address(), {"format": "xlsx"}).status_code == 400
    assert not AuditEntry.objects.filter(act="exported").exists()


def test_it_is_written_down_who_took_what() -> None:
    text_of("csv", query="?status__exact=processed", who="viewer")
    entry = AuditEntry.objects.filter(act="exported").get()
    assert (entry.object_type, entry.note, entry.through) == ("alarms.alarm", "csv status__exact=processed", "office")
    assert entry.who.startswith("viewer")
    assert "Exported" in page(browser_of(), reverse("admin:pelusa_auditentry_changelist"))


def test_no_file_holds_a_secret() -> None:
    account = make_account(api_key=planted("exchange key"), api_secret=planted("exchange secret"))
    make_equity(account)
    make_history()
    found = "".join(text_of(kind, name) for kind in ("csv", "json") for name in LISTS)
    assert "planted" not in found


def test_the_list_offers_its_file_with_the_filters_that_it_shows() -> None:
    text = page(browser_of("viewer"), reverse("admin:alarms_alarm_changelist"), status__exact="processed")
    assert 'action="/admin/export/alarms/alarm/?status__exact=processed"' in text
    assert "50,000 rows at most" in text
    assert f"{export.MOST_ROWS:,}" == "50,000"
    assert "pelusa-export" not in page(browser_of("viewer"), reverse("admin:operations_lane_changelist"))
