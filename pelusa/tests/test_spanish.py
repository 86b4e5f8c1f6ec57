"""Everything that a person reads is there in Spanish: the catalogue is whole, every page is in it, and numbers stay."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, get_args

import polib
import pytest
from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.test import Client
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.formats import localize
from django.utils.functional import Promise
from rest_framework.test import APIClient

from alarms.decoding import Reason
from alarms.intake import record_alarm
from alarms.models import Alarm
from alarms.timeline import sentence_of
from operations.models import Limits, Notice
from pelusa.doctor.asking import ask_together
from pelusa.doctor.findings import Level, verdict
from pelusa.doctor.webhook import judge_secrets
from pelusa.notifications.models import Channel, Message
from pelusa.notifications.outbox import write_messages
from pelusa.office.overview import PARTS
from pelusa.testing import DATABASES
from pelusa.tests.browsing import browser_of, page
from pelusa.tests.making import client_of, make_alarm, make_strategy
from pelusa.tests.test_office_admin import pages_of, rows, url_of
from strategies.models import Strategy
from strategies.reason_names import NAMES, UNREADABLE, name_of
from strategies.reasons import SENTENCES, explain

__all__ = ["rows"]

pytestmark = pytest.mark.django_db(databases=DATABASES)

OUR_APPS = ("alarms", "strategies", "operations", "market", "exchange", "pelusa")
CATALOGUE = Path(settings.LOCALE_PATHS[0], "es", "LC_MESSAGES", "django.po")
PLACEHOLDER = re.compile(r"%\(\w+\)s|\{[^{}]*\}|%s|%%")
ENGLISH = re.compile(r"\b(the|of|is not|are|was|with|from|this|which|must)\b", re.IGNORECASE)
# What is shown as it came: code, messages, names that people gave
AS_IT_CAME = frozenset({"code", "pre", "script", "style", "textarea", "template"})
ICON = "material-symbols"
# Names of languages and of time zones, log-ins of the test's own people, and permissions, which Django stores
NAMED = re.compile(r"English$|[A-Z]\w+/|.*at-the-office|.* \| Can ")


@pytest.fixture(autouse=True)
def language_of_the_next_test() -> Iterator[None]:
    """A request leaves its language switched on in the test's thread."""
    with translation.override(settings.LANGUAGE_CODE):
        yield


@pytest.fixture
def catalogue() -> polib.POFile:
    return polib.pofile(str(CATALOGUE))


def told(entry: polib.POEntry) -> list[str]:
    return list(entry.msgstr_plural.values()) if entry.msgid_plural else [entry.msgstr]


def test_every_word_of_the_catalogue_has_its_spanish(catalogue: polib.POFile) -> None:
    assert not [entry.msgid for entry in catalogue if entry.obsolete or entry.fuzzy or not all(told(entry))]
    assert not [entry.msgid for entry in catalogue if entry.msgid_plural and len(told(entry)) != 2]


def test_every_placeholder_survives_translation(catalogue: polib.POFile) -> None:
    for entry in catalogue:
        wanted = set(PLACEHOLDER.findall(entry.msgid))
        for text in told(entry):
            assert set(PLACEHOLDER.findall(text)) == wanted, entry.msgid


def test_a_sentence_ends_in_spanish_as_it_ends_in_english(catalogue: polib.POFile) -> None:
    assert not [entry.msgid for entry in catalogue for text in told(entry) if ends(entry.msgid) != ends(text)]


def ends(text: str) -> str:
    return text[-1:] if text[-1:] in ".:?" else ""


def test_the_compiled_catalogue_is_the_one_that_was_written(catalogue: polib.POFile) -> None:
    compiled = polib.mofile(str(CATALOGUE.with_suffix(".mo")))
    assert {(each.msgctxt, each.msgid): told(each) for each in compiled} == {
        (each.msgctxt, each.msgid): told(each) for each in catalogue
    }


@pytest.mark.parametrize("model", [model for app in OUR_APPS for model in apps.get_app_config(app).get_models()])
def test_every_model_and_column_is_named_in_words_that_can_be_translated(model: Any) -> None:
    named = [model._meta.verbose_name, model._meta.verbose_name_plural]
    for column in model._meta.local_fields:
        if not column.primary_key:
            named += [column.verbose_name, *([column.help_text] if column.help_text else [])]
    assert not [str(words) for words in named if not isinstance(words, Promise)]


@pytest.mark.parametrize("word", sorted(SENTENCES))
def test_every_reason_is_a_sentence_in_spanish(word: str) -> None:
    with translation.override("es"):
        in_spanish = explain(word, {})
    assert in_spanish != explain(word, {})


def test_every_reason_has_a_name_for_lists() -> None:
    assert set(NAMES) == {word.replace("_", " ") for word in SENTENCES}
    assert set(UNREADABLE) >= {word.replace("_", " ") for word in get_args(Reason)}
    with translation.override("es"):
        assert name_of("gate_shut") == "compuerta cerrada"


class Words(HTMLParser):
    """Collect what a page shows, without what is shown as it came."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self._as_it_came: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag in AS_IT_CAME or ICON in (named.get("class") or ""):
            self._as_it_came.append(tag)
        self.seen += [
            text for name in ("title", "placeholder", "aria-label") if (text := (named.get(name) or "").strip())
        ]

    def handle_endtag(self, tag: str) -> None:
        if self._as_it_came and self._as_it_came[-1] == tag:
            self._as_it_came.pop()

    def handle_data(self, data: str) -> None:
        text = " ".join(data.split())
        if text and not self._as_it_came:
            self.seen.append(text)


def words_of(html: str) -> list[str]:
    reader = Words()
    reader.feed(html)
    return reader.seen


OURS = sorted(path for app in OUR_APPS for path in Path(settings.BASE_DIR, app).rglob("templates/**/*.html"))
MARKUP = re.compile(
    r"{% blocktrans.*?{% endblocktrans(?:late)? %}|{%.*?%}|{{.*?}}|{#.*?#}"
    r"|<(?:script|style|code).*?</(?:script|style|code)>"
    r"|&\w+;|<[^>]*>",
    re.DOTALL,
)
# The same in every language
NO_WORDS = re.compile(r"\b(UTC|USDT|CSV|JSON|Pelusa)\b")


@pytest.mark.parametrize("template", OURS, ids=lambda path: path.name)
def test_no_template_holds_words_that_are_not_wrapped(template: Path) -> None:
    text = NO_WORDS.sub("", MARKUP.sub(" ", template.read_text()))
    assert not re.findall(r"[A-Za-z]{3,}", text)


@pytest.fixture
def browser() -> Client:
    browser = browser_of()
    browser.cookies[settings.LANGUAGE_COOKIE_NAME] = "es"
    return browser


def urls() -> Iterator[str]:
    """Yield the address of every page of the back office that needs nothing but a GET."""
    strategy = Strategy.objects.get()
    for model in admin.site._registry:
        yield from (*pages_of(model), url_of(model, "add"))
    yield from (reverse(name) for name in ("admin:index", "admin:password_change", "why"))
    yield from (reverse(f"overview_{name}") for name in PARTS)
    yield reverse("admin:strategies_strategy_versions", args=[strategy.pk])
    yield reverse("composer", args=[strategy.pk])
    yield reverse("object_history", args=["strategies", "strategy", strategy.pk])


def test_no_page_shows_an_english_word_in_spanish(rows: None, browser: Client, catalogue: polib.POFile) -> None:
    Notice.objects.create(kind="unsettled_order", level="warning", facts={"symbol": "BTC-USDT", "order": "p1"})
    english = {entry.msgid for entry in catalogue if entry.msgid not in told(entry) and entry.msgctxt is None}
    english -= {text for entry in catalogue for text in told(entry)}
    found = {}
    for url in urls():
        answer = browser.get(url, follow=True)
        if answer.status_code == 403:
            continue
        assert answer.status_code == 200, url
        for text in words_of(answer.content.decode()):
            if (text in english or ENGLISH.search(text)) and not NAMED.match(text):
                found[text] = url
    assert not found, "\n".join(f"{url}: {text}" for text, url in found.items())


def test_the_browsers_language_is_taken_until_another_is_chosen() -> None:
    browser = Client(headers={"Accept-Language": "es-MX,es;q=0.9"})
    assert 'lang="es"' in page(browser, reverse("admin:login"))
    browser.post(reverse("set_language"), {"language": "en", "next": "/"})
    assert 'lang="en' in page(browser, reverse("admin:login"))


def test_the_api_speaks_the_callers_language_and_its_machine_words_stay() -> None:
    answers = [
        client_of("viewer").get("/api/v1/strategies/", {"limit": "many"}, headers={"Accept-Language": language}).json()
        for language in ("en", "es")
    ]
    (english, spanish) = (answer["error"] for answer in answers)
    assert english["code"] == spanish["code"]
    assert english["fields"]["limit"] == ["Must be a whole number from 1 to 500."]
    assert spanish["fields"]["limit"] == ["Debe ser un número entero de 1 a 500."]
    nothing = APIClient().get("/api/v1/nowhere/", headers={"Accept-Language": "es"}).json()["error"]
    assert (nothing["code"], nothing["message"]) == ("not_found", "No hay nada en esta dirección.")


def test_a_price_keeps_its_point_and_a_time_its_form() -> None:
    with translation.override("es"):
        assert localize(1234567.5) == "1234567.5"
        assert localize(datetime(2026, 11, 22, 18, 5, 7, tzinfo=UTC)) == "2026-11-22 18:05:07 UTC"


def test_a_stored_sentence_is_english_and_is_shown_in_the_readers_language() -> None:
    with translation.override("es"):
        receipt = record_alarm(b"{}", "127.0.0.1")
        alarm = Alarm.objects.get(pk=receipt.alarm_id)
        assert alarm.detail == "Ticker is missing or empty; a value such as BTCUSDT.P is expected."
        assert sentence_of(alarm) == "Ticker falta o está vacío; se espera un valor como BTCUSDT.P."


def test_what_an_alarm_came_to_is_told_in_the_readers_language() -> None:
    alarm = make_alarm(status="ignored", reason="no_strategy_name", detail="The message names no strategy.")
    with translation.override("es"):
        assert sentence_of(alarm) == "El mensaje no nombra ninguna estrategia."


def test_facts_that_hold_phrases_of_ours_are_told_in_the_readers_language() -> None:
    with translation.override("es"):
        assert explain("no_alarm_price", {"scope": "Strategy Breakout"}).startswith("Estrategia Breakout: ")
        assert explain("no_alarm_price", {"scope": "Everything together"}).startswith("Todo junto: ")
        lacking = {"lacking": "stop loss at 49000 for 0.01; take profit at 52000 for 0.01"}
        assert "stop de pérdidas en 49000 por 0.01; objetivo de ganancias en 52000 por 0.01" in explain(
            "unprotected", lacking
        )
        words = (
            "Not enough money: add margin, use a smaller size, or free what pending orders hold. (BingX: insufficient)"
        )
        assert "No hay dinero suficiente" in explain("refused", {"code": "101204", "detail": words})


def test_the_doctor_speaks_the_readers_language_in_its_threads_too() -> None:
    with translation.override("es"):
        (finding,) = ask_together({"webhook": lambda: judge_secrets(["short"])}, 5).values()
        assert finding.level is Level.DANGER
        assert finding.sentence == "El secreto número 1 se puede adivinar, y puede colocar órdenes."
        assert verdict([finding]) == "Operar NO es seguro: 1 peligro."


def test_a_wrong_form_complains_in_spanish(browser: Client) -> None:
    make_strategy()
    answer = browser.post(url_of(Limits, "add"), {"max_open_operations": "0", "schedule": "never"})
    shown = answer.content.decode()
    assert "Debe ser mayor que cero, o vacío para no tener límite; era 0." in shown
    assert "&#x27;never&#x27; no nombra horas" in shown


def test_each_channel_is_told_in_its_own_language() -> None:
    for language in ("en", "es"):
        Channel.objects.create(name=language, url="json://127.0.0.1:9/", language=language)
    write_messages(timezone.now())
    Notice.objects.create(kind="unsettled_order", level="critical", facts={"symbol": "BTC-USDT", "order": "p1"})
    write_messages(timezone.now())
    titles = dict(Message.objects.values_list("channel__name", "title"))
    assert "Order not settled" in titles["en"]
    assert "Orden sin resolver" in titles["es"]
