"""Settle now: the exchange is asked about one order, by the task that asks anyway; the button itself sends nothing."""

import pytest
from django.urls import reverse

from operations import settling_admin
from operations.models import Order
from pelusa.audit.rows import AuditEntry
from pelusa.testing import DATABASES
from pelusa.tests.browsing import browser_of, page
from pelusa.tests.making import make_operation, make_order, make_strategy

pytestmark = pytest.mark.django_db(databases=DATABASES)


@pytest.fixture(autouse=True)
def rung(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    bells: list[tuple[str, int]] = []
    monkeypatch.setattr(settling_admin, "ring_on_commit", lambda task, key, *, using: bells.append((task, key)))
    return bells


def order_of(status: str) -> Order:
    return make_order(make_operation(make_strategy()), status=status)


def page_of(order: Order, act: str = "settle") -> str:
    return reverse(f"admin:operations_order_{act}", args=[order.pk])


@pytest.mark.parametrize("status", ["submitted", "pending_cancel", "accepted", "partially_filled"])
def test_what_has_not_ended_is_asked_about_once_confirmed(status: str, rung: list[tuple[str, int]]) -> None:
    order = order_of(status)
    browser = browser_of("trader")
    assert page_of(order) in page(browser, page_of(order, "change"))
    assert "No new order" in page(browser, page_of(order))
    assert rung == []
    assert "is being asked" in browser.post(page_of(order), follow=True).content.decode()
    assert rung == [("operations.tasks.settle_order", order.pk)]
    assert Order.objects.get().status == status
    assert AuditEntry.objects.get(act="settled").object_type == "operations.order"


@pytest.mark.parametrize("status", ["filled", "canceled", "rejected", "denied", "created"])
def test_what_has_ended_or_was_never_sent_is_refused_with_the_reason(status: str, rung: list[tuple[str, int]]) -> None:
    order = order_of(status)
    browser = browser_of("trader")
    assert page_of(order) not in page(browser, page_of(order, "change"))
    for text in (page(browser, page_of(order)), browser.post(page_of(order), follow=True).content.decode()):
        assert "nothing to ask" in text
    assert (rung, AuditEntry.objects.filter(act="settled").count()) == ([], 0)


def test_a_viewer_may_not(rung: list[tuple[str, int]]) -> None:
    order = order_of("submitted")
    assert browser_of("viewer").post(page_of(order)).status_code == 403
    assert page_of(order) not in page(browser_of("viewer"), page_of(order, "change"))
    assert rung == []
