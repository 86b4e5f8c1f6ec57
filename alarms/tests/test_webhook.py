"""The door that TradingView knocks at: what is stored, what is answered."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.db import OperationalError
from django.test import Client

from alarms import intake
from alarms.models import Alarm
from pelusa.testing import DATABASES, alarm_body
from pelusa.tests.planted import planted

pytestmark = pytest.mark.django_db(databases=DATABASES)
SECRET = planted("webhook secret")
AT = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def one_secret(settings: object) -> None:
    settings.WEBHOOK_SECRETS = [SECRET, planted("webhook secret", "next")]  # type: ignore[attr-defined]


def post(
    client: Client, body: bytes, path: str = f"/webhook/{SECRET}", content_type: str = "text/plain", **options: str
) -> tuple[int, dict[str, object]]:
    answer = client.post(path, data=body, content_type=content_type, **options)
    return answer.status_code, answer.json()


@pytest.mark.parametrize(
    "path", [f"/webhook/{SECRET}", f"/webhook/{SECRET}/", f"/webhook/{planted('webhook secret', 'next')}"]
)
def test_the_secret_in_the_path_opens_with_and_without_a_last_slash(client: Client, path: str) -> None:
    status, answer = post(client, alarm_body(), path)
    assert (status, answer["status"]) == (200, "received")


@pytest.mark.parametrize("key", ["secret", "token", "passphrase", "Secret"])
@pytest.mark.parametrize("path", ["/webhook", "/webhook/"])
def test_the_secret_in_the_body_opens_and_is_never_stored(client: Client, key: str, path: str) -> None:
    status, _ = post(client, alarm_body(**{key: SECRET}), path)
    assert status == 200
    raw = Alarm.objects.get().raw
    assert SECRET not in raw
    assert json.loads(raw)[key] == "[secret]"


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "nonsense"],
)
def test_the_content_type_does_not_matter(client: Client, content_type: str) -> None:
    status, _ = post(client, alarm_body(), content_type=content_type)
    assert status == 200


@pytest.mark.parametrize("path", ["/webhook", "/webhook/wrong", f"/webhook/{SECRET.upper()}", f"/webhook/{SECRET}x"])
def test_a_wrong_or_missing_secret_stores_nothing(client: Client, path: str) -> None:
    status, answer = post(client, alarm_body(), path)
    assert status == 401
    assert answer["error"]["code"] == "wrong_secret"  # type: ignore[index]
    assert not Alarm.objects.exists()


@pytest.mark.parametrize("secret", [None, "", 5, True, [], {}, "\ud800", "é", " " + SECRET, "x" * 9000])
def test_a_secret_of_a_wrong_kind_is_a_wrong_secret(client: Client, secret: object) -> None:
    body = json.dumps({**json.loads(alarm_body()), "secret": secret}).encode()
    status, _ = post(client, body, "/webhook")
    assert status == 401


def test_the_secret_in_the_query_does_not_open(client: Client) -> None:
    status, _ = post(client, alarm_body(), f"/webhook?secret={SECRET}")
    assert status == 401


@pytest.mark.parametrize("method", ["get", "put", "delete", "patch", "head", "options"])
def test_only_post_is_taken(client: Client, method: str) -> None:
    assert getattr(client, method)(f"/webhook/{SECRET}").status_code == 405


def test_an_address_that_is_not_allowed_is_refused(client: Client) -> None:
    status, _ = post(client, alarm_body(), REMOTE_ADDR="203.0.113.9")
    assert status == 403
    assert not Alarm.objects.exists()


@pytest.mark.parametrize(
    "address", ["52.89.214.238", "34.212.75.30", "54.218.53.128", "52.32.178.7", "::ffff:52.89.214.238"]
)
def test_tradingviews_addresses_are_allowed(client: Client, address: str) -> None:
    status, _ = post(client, alarm_body(), REMOTE_ADDR=address)
    assert status == 200
    assert Alarm.objects.get().source_ip == address.removeprefix("::ffff:")


def test_the_message_is_stored_as_it_came(client: Client) -> None:
    body = (
        b'{ "Ticker":"BTCUSDT.PS" ,"Temporalidad":"1","Price_Alert":"68196.01","Time_Alert":"15:45:00_24/5/2024",\n'
        b'"Order":"open long","Strategy":"Stochastic_v1","note":"\xc3\xa9"}'
    )
    post(client, body)
    alarm = Alarm.objects.get()
    assert alarm.raw.encode() == body
    assert (alarm.kind, alarm.action, alarm.leg, alarm.interval) == ("order", "open", "long", "1m")
    assert (alarm.ticker, alarm.pair) == ("BTCUSDT.PS", "BTCUSDT")
    assert alarm.alarm_time == datetime(2024, 5, 24, 15, 45, tzinfo=UTC)


def test_a_redelivery_is_linked_to_its_original_and_answered_with_its_id(client: Client) -> None:
    body = alarm_body(at=AT)
    _, first = post(client, body)
    for _ in range(3):
        status, again = post(client, body)
        assert (status, again) == (200, {"id": first["id"], "status": "duplicate"})
    original = Alarm.objects.get(status=Alarm.Status.RECEIVED)
    assert original.redeliveries.count() == 3


def test_the_same_said_in_another_key_order_is_a_redelivery(client: Client) -> None:
    said = json.loads(alarm_body(at=AT))
    post(client, json.dumps(said).encode())
    _, again = post(client, json.dumps(dict(reversed(said.items())), indent=2).encode())
    assert again["status"] == "duplicate"


def test_alarms_of_different_bars_stay_two(client: Client) -> None:
    post(client, alarm_body(at=AT))
    _, second = post(client, alarm_body(at=AT.replace(minute=5)))
    assert second["status"] == "received"


def test_both_legs_of_a_reversal_in_one_second_stay_two(client: Client) -> None:
    post(client, alarm_body("order close long", at=AT))
    _, second = post(client, alarm_body("order open short", at=AT))
    assert second["status"] == "received"


def test_two_entries_of_one_bar_with_different_order_ids_stay_two(client: Client) -> None:
    post(client, alarm_body(at=AT, order_id="long 1"))
    _, second = post(client, alarm_body(at=AT, order_id="long 2"))
    assert second["status"] == "received"


def spoilt(old: bytes, new: bytes) -> bytes:
    """Return an honest message with one part of it replaced."""
    honest = (
        b'{"Ticker":"BTCUSDT.P","Interval":"5","Time_Alert":"2026-11-22T10:00:00Z","Order":"open long","Quantity":1}'
    )
    assert old in honest
    return honest.replace(old, new)


BAD = {
    "empty body": b"",
    "not JSON": b"hello",
    "deep nesting": b"[" * 10_000,
    "NaN": spoilt(b"1}", b"NaN}"),
    "Infinity": spoilt(b"1}", b"Infinity}"),
    "duplicate keys": spoilt(b'"Interval"', b'"Ticker":"ETHUSDT.P","Interval"'),
    "wrong types": spoilt(b'"BTCUSDT.P"', b'["BTCUSDT.P"]'),
    "control characters": spoilt(b"BTCUSDT", b"BTC\\u0000USDT"),
    "not UTF-8": spoilt(b"BTCUSDT", b"BTC\xffUSDT"),
    "missing keys": b'{"Ticker":"BTCUSDT.P"}',
    "unknown order words": spoilt(b"open long", b"buy the dip"),
    "unknown interval": spoilt(b'"5"', b'"45"'),
    "a list": b"[]",
    "a placeholder left": spoilt(b"BTCUSDT.P", b"{{ticker}}"),
}


@pytest.mark.parametrize("body", BAD.values(), ids=BAD)
def test_what_cannot_be_read_is_kept_with_its_reason(client: Client, body: bytes) -> None:
    status, answer = post(client, body)
    alarm = Alarm.objects.get()
    assert (status, answer["id"], answer["status"]) == (422, alarm.pk, "invalid")
    assert answer["error"]["code"] == alarm.reason != ""  # type: ignore[index]
    assert alarm.detail
    assert alarm.raw == body.decode("utf-8", "backslashreplace")
    assert alarm.status == Alarm.Status.INVALID


def test_a_message_that_is_too_large_is_refused_and_its_beginning_kept(client: Client) -> None:
    status, answer = post(client, b"x" * 1_000_000)
    assert (status, answer["error"]["code"]) == (413, "too_large")  # type: ignore[index]
    assert len(Alarm.objects.get().raw) == 16_384


def test_when_nothing_could_be_stored_the_sender_is_told_to_send_again(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(columns: object) -> None:
        raise OperationalError(2006, "server has gone away")

    monkeypatch.setattr(intake, "_store_once", fail)
    status, answer = post(client, alarm_body())
    assert (status, answer["error"]["code"]) == (503, "not_stored")  # type: ignore[index]
    assert "gone away" not in json.dumps(answer)


def test_every_column_is_stored_as_the_models_own_way_stores_it() -> None:
    """The intake writes its statement itself: what it does not name must be what a new Alarm would be."""
    said = {"Quantity": "0.010", "Price_Alert": "50000.5", "Entry_Price_Alert": "1", "Exit_Price_Alert": "2"}
    body = alarm_body(**said)
    receipts = [intake.record_alarm(body, "127.0.0.1"), intake.record_alarm(body, "127.0.0.1")]
    receipts.append(intake.record_alarm(b"nonsense", "127.0.0.1"))
    assert [receipt.status for receipt in receipts] == ["received", "duplicate", "invalid"]
    first, second, _ = stored = list(Alarm.objects.order_by("id"))
    for alarm in stored:
        columns = {field.attname: getattr(alarm, field.attname) for field in Alarm._meta.concrete_fields}
        again = Alarm(**columns | {"id": None, "delivery_key": None})
        again.save()
        again.refresh_from_db()
        kept = {name: getattr(again, name) for name in columns}
        assert kept == columns | {"id": again.pk, "delivery_key": None}
    fresh = Alarm()
    assert (first.status, first.reason, first.detail, first.attempts) == (fresh.status, "", "", fresh.attempts)
    assert (first.original_id, first.processed_at, first.quantity) == (None, None, Decimal("0.01"))
    assert (second.original_id, second.reason, second.delivery_key) == (first.pk, "redelivery", None)
    assert second.processed_at == second.received_at
