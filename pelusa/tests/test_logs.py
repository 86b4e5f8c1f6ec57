"""Log lines: one event is one line, whoever wrote it, and no line holds a secret."""

import gzip
import io
import json
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from loguru import logger

from exchange.models import Account
from pelusa import logs
from pelusa.testing import DATABASES

SECRET = "tr3s-secret-0123456789"


class Output:
    """What was written, as text lines or as objects."""

    def __init__(self, stream: io.StringIO) -> None:
        self._stream = stream

    @property
    def text(self) -> str:
        return self._stream.getvalue()

    @property
    def lines(self) -> list[str]:
        # Not splitlines(): it would also split where only some readers do
        return self.text.removesuffix("\n").split("\n")

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]


def capture(monkeypatch: pytest.MonkeyPatch, *, as_json: bool, level: str = "INFO") -> Output:
    stream = io.StringIO()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", stream)
        logs.configure({"level": level, "json": as_json, "file": None})
    logs.mask(SECRET)
    return Output(stream)


@pytest.fixture(autouse=True)
def back_to_normal() -> Iterator[None]:
    root = logging.getLogger()
    handlers = list(root.handlers)
    yield
    logs.configure(django_settings.LOGGING)
    root.handlers = handlers


@pytest.fixture
def text(monkeypatch: pytest.MonkeyPatch) -> Output:
    return capture(monkeypatch, as_json=False)


@pytest.fixture
def objects(monkeypatch: pytest.MonkeyPatch) -> Output:
    return capture(monkeypatch, as_json=True)


HOSTILE = {
    "line feed": "x\n2026-01-01T00:00:00.000Z ERROR forged",
    "carriage return": "x\rforged",
    "both": "x\r\nforged",
    "escape": "x\x1b[2J\x1b[31mforged",
    "backspace": "x\x08\x08forged",
    "next line": "x\x85forged",
    "line separator": "x\u2028forged",
    "paragraph separator": "x\u2029forged",
    "bidi": "x\u202eforged",
    "zero width": "x\u200bforged",
    "half a surrogate": "x\ud800forged",
    "NUL": "x\x00forged",
    "braces": "{} {0} {ip.__class__.__mro__} {a}",
    "markup": "<red>x</red> </> <level>",
    "percent": "%s %d %(a)s %",
    "json": '{"a": 1}',
    "megabyte": "x" * 1_000_000,
}
FORBIDDEN = set("\r\x1b\x08\x85\x00\u2028\u2029\u202e\u200b\ud800")


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("way", ["message", "argument", "bound", "key", "exception", "stdlib", "stdlib argument"])
@pytest.mark.parametrize("as_json", [False, True])
def test_user_text_cannot_forge_a_line(monkeypatch: pytest.MonkeyPatch, way: str, value: str, as_json: bool) -> None:
    output = capture(monkeypatch, as_json=as_json)
    tell(way, value)
    [line] = output.lines
    assert not FORBIDDEN & set(line)
    assert len(line) < 20_000
    if as_json:
        json.loads(line)


def tell(way: str, value: str) -> None:
    if way == "message":
        logger.info(value)
    elif way == "argument":
        logger.info("got {}", value)
    elif way == "bound":
        logger.bind(value=value).info("got it")
    elif way == "key":
        logger.bind(body={value: value}).info("got it")
    elif way == "stdlib":
        logging.getLogger("some.library").warning(value)
    elif way == "stdlib argument":
        logging.getLogger("some.library").warning("got %s", value)
    else:
        try:
            raise ValueError(value)
        except ValueError:
            logger.exception("broke")


LEAKS = [
    "password=hunter2hunter2",
    "Authorization: Token hunter2hunter2",
    "authorization=Bearer hunter2hunter2",
    "{'Authorization': 'Token hunter2hunter2'}",
    '{"api_secret": "hunter2hunter2"}',
    '{"apiKey":"hunter2hunter2","x":1}',
    "{'X-BX-APIKEY': 'hunter2hunter2'}",
    "X-BX-APIKEY: hunter2hunter2",
    "https://open-api.bingx.com/openApi/swap/v2/trade/order?symbol=BTC-USDT&signature=hunter2hunter2&timestamp=1",
    "POST /webhook/hunter2hunter2 refused",
    "/webhook//hunter2hunter2/",
    "mysql://pelusa:hunter2hunter2@db:3306/Desarrollo-Operaciones",
    "redis://:hunter2hunter2@redis:6379/0",
    "Cookie: csrftoken=abc; sessionid=hunter2hunter2",
    "Set-Cookie: sessionid=hunter2hunter2; HttpOnly",
    'body {"passphrase": "hunter2hunter2"}',
    'escaped {\\"token\\": \\"hunter2hunter2\\"}',
    "passphrase: hunter2hunter2",
    "WEBHOOK_SECRETS=hunter2hunter2",
    "token = hunter2hunter2",
    f"anywhere {SECRET} at all".replace(SECRET, "hunter2hunter2") + " secret='hunter2hunter2'",
]


@pytest.mark.parametrize("leak", LEAKS[:-1])
@pytest.mark.parametrize("way", ["message", "argument", "bound", "exception", "stdlib", "stdlib argument"])
def test_a_secret_is_masked_by_its_key_or_its_place(text: Output, way: str, leak: str) -> None:
    tell(way, leak)
    assert "hunter2" not in text.text
    assert "***" in text.text


PLACES = {
    "message": lambda: logger.info(f"sent {SECRET}"),
    "argument": lambda: logger.info("sent {}", SECRET),
    "keyword": lambda: logger.info("sent {what}", what=SECRET),
    "bound": lambda: logger.bind(anything=SECRET).info("sent"),
    "nested": lambda: logger.bind(body={"a": [{"b": (SECRET,)}]}).info("sent"),
    "key of a mapping": lambda: logger.bind(body={SECRET: 1}).info("sent"),
    "object": lambda: logger.bind(body=Told(SECRET)).info("sent"),
    "bytes": lambda: logger.bind(body=SECRET.encode()).info("sent"),
    "url": lambda: logger.info("GET https://x/?a={}", SECRET),
    "stdlib": lambda: logging.getLogger("x").error("sent %s", SECRET),
    "stdlib with an exception": lambda: stdlib_exception(),
    "warning": lambda: __import__("warnings").warn(SECRET, stacklevel=1),
    "at the cut": lambda: logger.info("x" * (logs.LONGEST_TEXT - 5) + SECRET),
    "beyond the cut": lambda: logger.info("x" * (2 * logs.LONGEST_TEXT - 5) + SECRET),
    "exception": lambda: raised(lambda: ValueError(SECRET)),
    "local value": lambda: raised(lambda: ValueError("harmless")),
    "cause": lambda: caused(),
    "percent-encoded": lambda: logger.info("GET /?a={}", "a%2Fb%3Dc-secret"),
}


class Told:
    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return f"Told({self.text})"


def raised(make: Any) -> None:
    secret_local = SECRET
    try:
        raise make()
    except ValueError:
        logger.exception("broke")
    assert secret_local


def caused() -> None:
    try:
        try:
            raise KeyError(SECRET)
        except KeyError as error:
            raise ValueError("harmless") from error
    except ValueError:
        logger.exception("broke")


def stdlib_exception() -> None:
    try:
        raise ValueError(SECRET)
    except ValueError:
        logging.getLogger("x").exception("broke with %s", SECRET)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("as_json", [False, True])
def test_a_registered_value_is_written_nowhere(monkeypatch: pytest.MonkeyPatch, place: str, as_json: bool) -> None:
    output = capture(monkeypatch, as_json=as_json)
    logs.mask("a/b=c-secret")
    PLACES[place]()
    assert len(output.lines) == 1
    for length in (len(SECRET), 12):
        assert SECRET[:length] not in output.text
    assert "a%2Fb" not in output.text


@pytest.mark.parametrize(
    "key",
    [
        "secret",
        "api_secret",
        "token",
        "passphrase",
        "signature",
        "apiKey",
        "X-BX-APIKEY",
        "Password",
        "authorization",
        "cookie",
    ],
)
def test_a_bound_value_is_masked_by_its_key(objects: Output, key: str) -> None:
    logger.bind(**{key: "short"}, body={key: ["short"]}).info("sent")
    [event] = objects.events
    assert (event[key], event["body"]) == ("***", {key: "***"})


def test_harmless_text_stays_as_it_is(text: Output) -> None:
    harmless = "strategy Secretary took 5 tokens, api v1, cookies are off, 100% of BTC-USDT at 50000.1"
    logger.info(harmless)
    assert harmless in text.text


def test_settings_are_masked_from_the_start(text: Output) -> None:
    values = [django_settings.SECRET_KEY, *django_settings.WEBHOOK_SECRETS, *django_settings.FIELD_ENCRYPTION_KEYS]
    for value in values:
        logger.info("leaked {}", value)
    assert not any(value in text.text for value in values)


@pytest.mark.django_db(databases=DATABASES)
def test_an_accounts_keys_are_masked_once_they_were_read(text: Output) -> None:
    Account.objects.create(name="desk", api_key="key-0123456789", api_secret="secret-0123456789")
    logger.info("sent with key-0123456789 signed by secret-0123456789")
    assert "0123456789" not in text.text


def test_an_exception_is_told_in_its_line_with_calls_and_causes(objects: Output) -> None:
    caused()
    [event] = objects.events
    assert event["message"] == "broke"
    assert event["exception"].startswith("ValueError: harmless [pelusa/tests/test_logs.py:")
    assert " caused by KeyError: '***' [" in event["exception"]
    assert str(django_settings.BASE_DIR) not in event["exception"]


def test_an_event_as_an_object_has_its_place_and_what_was_bound(objects: Output) -> None:
    with logger.contextualize(request_id="abc"):
        logger.bind(order=7, ok=True).warning("sent {}", "it")
    [event] = objects.events
    assert (event["level"], event["message"], event["logger"]) == ("WARNING", "sent it", __name__)
    assert (event["request_id"], event["order"], event["ok"]) == ("abc", 7, True)
    assert event["time"].endswith("Z")


def test_a_bound_value_cannot_replace_what_the_line_says_itself(objects: Output) -> None:
    logger.bind(level="forged", message="forged", line="forged").info("true")
    [event] = objects.events
    assert (event["level"], event["message"]) == ("INFO", "true")


def test_a_bound_line_is_not_taken_for_the_line_itself(text: Output) -> None:
    logger.bind(line="forged", name="bound").info("true")
    [line] = text.lines
    assert "forged" not in line
    assert line.endswith("true | name=bound")


@pytest.mark.parametrize("name", ["django.server", "celery.worker", "gunicorn.error", "anything.else"])
def test_every_library_writes_through_us(objects: Output, name: str) -> None:
    logging.getLogger(name).error("something %s", "broke")
    [event] = objects.events
    assert (event["logger"], event["level"], event["message"]) == (name, "ERROR", "something broke")


def test_a_broken_format_of_a_library_is_still_told(objects: Output) -> None:
    logs.ThroughLoguru().emit(logging.LogRecord("x", logging.ERROR, __file__, 1, "%d of %d", ("one",), None))
    assert [event["message"] for event in objects.events] == ["%d of %d"]


class Broken:
    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_a_value_that_cannot_be_shown_breaks_nothing(objects: Output) -> None:
    logger.bind(value=Broken()).info("sent")
    assert "cannot be shown" in objects.events[0]["value"]


def test_levels_below_the_setting_are_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    output = capture(monkeypatch, as_json=False, level="WARNING")
    logger.info("quiet")
    logging.getLogger("x").info("quiet")
    assert output.text == ""


def test_the_sql_of_django_and_urls_of_urllib3_are_never_told(monkeypatch: pytest.MonkeyPatch) -> None:
    output = capture(monkeypatch, as_json=False, level="DEBUG")
    logging.getLogger("django.db.backends").debug("SELECT 1")
    logging.getLogger("urllib3.connectionpool").debug("GET /?a=b")
    assert output.text == ""


HOSTILE = ["a", "secret", "http", "cookie", '"', "secret=", "a-", "://:"]


@pytest.mark.parametrize("piece", HOSTILE)
def test_a_hostile_text_costs_no_more_than_its_length(text: Output, piece: str) -> None:
    short, long = (piece * 8000)[:400], (piece * 8000)[:8000]
    # Twenty times as long: what backtracks costs four hundred times as much
    assert _cost(long) < 100 * _cost(short)


def _cost(value: str) -> float:
    """Return the least CPU seconds that ten lines with this text take."""
    costs = []
    for _ in range(5):
        started = time.process_time()
        for _ in range(10):
            logger.info("{}", value)
        costs.append(time.process_time() - started)
    return min(costs)


def test_the_file_is_private_rotated_and_compressed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(logs._ROTATED, "most_bytes", 10_000)
    path = tmp_path / "log" / "pelusa.log"
    logs.configure({"level": "INFO", "json": True, "file": path})
    logs.mask(SECRET)
    for number in range(200):
        logger.info("event {} {}", number, SECRET)
    logger.remove()
    packed = sorted(path.parent.glob("*.gz"))
    # One that was renamed while others were being packed waits for the next time
    plain = sorted(path.parent.glob("*.log"))
    whole = "".join([*(gzip.decompress(each.read_bytes()).decode() for each in packed), *map(Path.read_text, plain)])
    assert packed
    assert sorted(int(json.loads(line)["message"].split()[1]) for line in whole.splitlines()) == list(range(200))
    assert SECRET not in whole
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_file_that_cannot_be_written_stops_the_start_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a file, not a folder")
    with pytest.raises(Exception, match="LOG_FILE: "):
        logs.configure({"level": "INFO", "json": False, "file": tmp_path / "log" / "pelusa.log"})


def test_output_for_people_goes_to_the_error_stream() -> None:
    code = "import django; django.setup(); from loguru import logger; logger.info('hello'); print('answer')"
    environment = {"DJANGO_SETTINGS_MODULE": "pelusa.settings", "VAR_DIR": str(django_settings.VAR_DIR)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=django_settings.BASE_DIR,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "answer\n"
    assert "hello" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full is a device of Linux")
def test_a_process_starts_without_an_error_stream_and_with_its_log_on_a_full_disk() -> None:
    """R40: configuring twice closes the first file, whose last lines cannot be written."""
    code = "import django; django.setup(); from loguru import logger; logger.info('lost');"
    code += " from django.conf import settings; from pelusa.logs import configure; configure(settings.LOGGING)"
    environment = {"DJANGO_SETTINGS_MODULE": "pelusa.settings", "VAR_DIR": str(django_settings.VAR_DIR)}
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-c", f"{code}; print('alive')"],
        cwd=django_settings.BASE_DIR,
        env=environment | {"LOG_FILE": "/dev/full"},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.stdout == "alive\n"
