"""Experiment."""
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal as D
from django.db import connection
from django.utils import timezone
import pytest
from exchange.models import Account
from operations import execution
from operations.lifecycle import AlarmFacts, carry_out
from operations.models import Lane, Order
from operations.preparation import Prepared
from pelusa.testing import DATABASES
from pelusa.tests.making import make_account, make_strategy, make_instrument
from strategies.rules import Verdict

@pytest.mark.servers
@pytest.mark.django_db(transaction=True, databases=DATABASES)
def test_x():
    make_instrument()
    account = make_account()
    ss = [make_strategy(account, name=f"s{i}") for i in range(4)]
    errors = []
    def route(k):
        try:
            for i in range(60):
                s = ss[k]
                carry_out(s, AlarmFacts(i * 10 + k, "long", timezone.now(), D(50000), None), Verdict("open", "entry", {}))
        except Exception as e:
            errors.append(repr(e))
        finally:
            connection.close()
    def claim():
        try:
            for i in range(150):
                lane = Lane.objects.select_related("account").first()
                o = lane and execution.next_order(lane)
                if o:
                    if execution._claim(o, Prepared(quantity=D("0.01"), price=D(50000))):
                        Order.objects.filter(pk=o.pk).update(status="filled")
        except Exception as e:
            errors.append(repr(e))
        finally:
            connection.close()
    with ThreadPoolExecutor(8) as pool:
        fs = [pool.submit(route, k) for k in range(4)] + [pool.submit(claim) for _ in range(2)]
        [f.result() for f in fs]
    print(Order.objects.values_list("status").distinct())
    assert not errors, errors
