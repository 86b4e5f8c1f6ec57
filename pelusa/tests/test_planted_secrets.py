"""S13, S15, S22, S23, S26: what is planted in a running system is found nowhere, and forged messages trade nothing."""

import base64
import gzip
import json
import os
import pickle
import re
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import redis
import requests
from cryptography.fernet import Fernet
from django.db import connections
from loguru import logger

from exchange.models import Account
from pelusa import logs
from pelusa.livesystem import DATABASES, ROOT, LiveSystem, wait_until
from pelusa.notifications.models import Channel
from pelusa.supervisor import Supervisor
from pelusa.testing import alarm_body
from pelusa.tests.browsing import browser_of
from pelusa.tests.making import client_of

QUEUE = "pelusa:celery"
# By where each is planted
PLANTED = {
    "account key": f"planted-key-{secrets.token_hex(8)}",
    "account secret": f"planted-secret-{secrets.token_hex(12)}",
    "environment key": f"planted-bingx-key-{secrets.token_hex(8)}",
    "environment secret": f"planted-bingx-secret-{secrets.token_hex(8)}",
    "channel token": f"planted-token-{secrets.token_hex(12)}",
    "typed password": f"planted-password-{secrets.token_hex(6)}",
    "typed token": f"planted-bearer-{secrets.token_hex(12)}",
    "typed webhook secret": f"planted-guess-{secrets.token_hex(12)}",
    "database password": f"planted-database-{secrets.token_hex(8)}",
    "secret key": f"planted-django-{secrets.token_urlsafe(48)}",
    "field key": Fernet.generate_key().decode(),
    "webhook secret": f"planted-webhook-{secrets.token_hex(12)}",
}


class Boom:
    """What runs a command when somebody unpickles it."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


def connect_as_root() -> Any:
    import MySQLdb

    at = urlsplit(os.environ["DATABASE_URL"])
    return MySQLdb.connect(host=at.hostname, port=at.port or 3306, user=at.username, password=at.password or "")


def execute(*statements: str) -> list[Any]:
    """Run statements as the server's root and return what the last one answered."""
    connection = connect_as_root()
    try:
        cursor = connection.cursor()
        for statement in statements:
            cursor.execute(statement)
        connection.commit()
        return list(cursor.fetchall())
    finally:
        connection.close()


@pytest.fixture(scope="module")
def database_user() -> Iterator[str]:
    """A user of the server whose password is planted, and who may only use the schemas of such systems."""
    name = f"planted-{secrets.token_hex(4)}"
    execute(
        f"CREATE USER '{name}'@'%' IDENTIFIED BY '{PLANTED['database password']}'",
        f"GRANT ALL ON `pelusa-live-%`.* TO '{name}'@'%'",
    )
    yield name
    execute(f"DROP USER '{name}'@'%'")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, database_user: str) -> Iterator[tuple[LiveSystem, Supervisor]]:
    system = LiveSystem.on_our_servers(tmp_path_factory.mktemp("planted"), secret=PLANTED["webhook secret"])
    at = urlsplit(os.environ["DATABASE_URL"])
    system.mysql = f"mysql://{database_user}:{PLANTED['database password']}@{at.hostname}:{at.port or 3306}"
    system.settings = {
        "SECRET_KEY": PLANTED["secret key"],
        "FIELD_ENCRYPTION_KEYS": PLANTED["field key"],
        "BINGX_API_KEY": PLANTED["environment key"],
        "BINGX_API_SECRET": PLANTED["environment secret"],
        "LOG_JSON": "on",
    }
    with system.running() as supervisor:
        yield system, supervisor


@pytest.fixture
def system(running: tuple[LiveSystem, Supervisor]) -> LiveSystem:
    return running[0]


def lines_of(system: LiveSystem) -> list[dict[str, Any]]:
    """Return the lines of the log's file, every process's."""
    text = (system.home / "log" / "pelusa.log").read_text()
    return [json.loads(line) for line in text.splitlines() if line.endswith("}")]


def written_by(system: LiveSystem) -> str:
    """Return all that the system has written anywhere in its folder, and what its processes printed."""
    files = [each for each in system.home.rglob("*") if each.is_file()]
    packed = [gzip.decompress(each.read_bytes()).decode() for each in files if each.suffix == ".gz"]
    return "".join(packed + [each.read_text(errors="replace") for each in files if each.suffix != ".gz"])


def rows_of(system: LiveSystem) -> str:
    """Return every value of every table of the three databases."""
    return str(list(system.tables()))


def push(system: LiveSystem, task: str, body: bytes, content_type: str = "application/json") -> str:
    """Put a message into the worker's queue as somebody would who got at Redis; return the task's id."""
    task_id = uuid4().hex
    message = {
        "body": base64.b64encode(body).decode(),
        "content-encoding": "utf-8" if content_type.endswith("json") else "binary",
        "content-type": content_type,
        "headers": {"lang": "py", "task": task, "id": task_id, "argsrepr": "()", "kwargsrepr": "{}"},
        "properties": {
            "correlation_id": task_id,
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": "celery"},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": uuid4().hex,
        },
    }
    push_raw(system, json.dumps(message))
    return task_id


def push_raw(system: LiveSystem, *texts: str | bytes) -> None:
    with redis.Redis.from_url(system.broker) as server:
        server.lpush(QUEUE, *texts)


def wait_for_the_worker(system: LiveSystem) -> None:
    with redis.Redis.from_url(system.broker) as server:
        wait_until(lambda: server.llen(QUEUE) == 0, seconds=60, what="for the worker to read its queue")


def post(system: LiveSystem, path: str, data: Any, **options: Any) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        return session.post(f"{system.url}{path}", data=data, timeout=10, **options)


pytestmark = pytest.mark.timeout(240)
on_servers = pytest.mark.servers


@on_servers
def test_s22_pickles_and_broken_messages_run_nothing_and_the_worker_goes_on(
    running: tuple[LiveSystem, Supervisor],
) -> None:
    system, supervisor = running
    proof, workers = system.home / "unpickled", supervisor.pids()["worker0"]
    evil = pickle.dumps(Boom(f"touch {proof}"))
    for _ in range(20):
        push(system, "operations.tasks.run_lane", evil, "application/x-python-serialize")
    push_raw(
        system, "{", b"\xff\xfe", "", "null", "[]", "5", "{}", '{"properties": 5}', '{"properties": {}}', "x" * 10**6
    )
    push_raw(system, '{"properties": {"delivery_tag": "1", "body_encoding": "base64"}, "body": "no base64"}')
    push_raw(system, '{"properties": {"delivery_tag": "2"}, "body": "[]"}')
    wait_for_the_worker(system)
    assert post(system, f"/webhook/{system.secret}", alarm_body()).status_code == 200
    api = system.api()
    wait_until(lambda: api.all("/alarms/")[0]["status"] not in ("pending", "received"), seconds=30)
    assert not proof.exists()
    assert supervisor.pids()["worker0"] == workers


@on_servers
def test_s23_two_hundred_forged_tasks_make_no_order(system: LiveSystem) -> None:
    tasks = ("operations.tasks.run_lane", "alarms.tasks.route_alarm", "operations.tasks.nobody", "os.system")
    for number in range(200):
        arguments = [[number if number % 3 else "1; DROP TABLE x"], {}, {}]
        push(system, tasks[number % len(tasks)], json.dumps(arguments).encode())
    wait_for_the_worker(system)
    assert system.api().all("/orders/") == []
    assert system.paper.ledger() == []


ODD_SCHEDULE = """
from django_celery_beat.models import IntervalSchedule, PeriodicTask
often = IntervalSchedule.objects.create(every=1, period="seconds")
PeriodicTask.objects.create(name="odd one", task="pelusa.tasks.pulse", interval=often, args="[broken")
"""


@on_servers
def test_an_error_of_web_worker_and_beat_is_logged_once_with_its_id(system: LiveSystem) -> None:
    api, market = system.api(), system.schemas["market"]
    execute(f"RENAME TABLE `{market}`.market_backfill TO `{market}`.elsewhere")
    answer = api.session.get(f"{api.base}/backfills/", timeout=10)
    execute(f"RENAME TABLE `{market}`.elsewhere TO `{market}`.market_backfill")
    assert answer.status_code == 500
    task_id = push(system, "operations.tasks.settle_order", json.dumps([[system.secret], {}, {}]).encode())
    system.manage("shell", "-c", ODD_SCHEDULE)
    ids = (answer.json()["error"]["request_id"], task_id, "odd one")

    def errors(about: str) -> list[dict[str, Any]]:
        return [line for line in lines_of(system) if line["level"] == "ERROR" and about in json.dumps(line)]

    for about in ids:
        wait_until(lambda about=about: bool(errors(about)), seconds=30, what=f"for the error of {about}")
    # Each has had the time to say it again
    execute("SELECT SLEEP(3)")
    assert [len(errors(about)) for about in ids] == [1, 1, 1]


@on_servers
def test_s15_what_was_planted_is_found_in_no_log_answer_or_database(system: LiveSystem) -> None:
    api = system.api()
    keys = {"api_key": PLANTED["account key"], "api_secret": PLANTED["account secret"]}
    answers = [str(api.post("/accounts/", name="planted", environment="paper", **keys))]
    answers += list(of_strangers(system))
    make_channel(system)
    # Its words are told on the channel, which nobody serves, and the account's key is refused by the exchange
    answers.append(str(api.post("/kill-switch/pull/", reason="planted")))
    wait_until(lambda: channel_failed(system), seconds=60, what="for the channel to be tried")
    push(system, "operations.tasks.check_keys", b"[[], {}, {}]")
    wait_until(lambda: "account planted: what its key" in written_by(system), what="for a line about the account")
    lists = ("accounts", "alarms", "notices", "audit", "orders", "strategies")
    answers += [str(api.all(f"/{each}/")) for each in lists]
    answers.append(metrics(system, api))
    searched = {"logs": written_by(system), "answers": "".join(answers), "databases": rows_of(system)}
    assert all(len(text) > 1000 for text in searched.values())
    assert not [(where, name) for where, text in searched.items() for name, each in PLANTED.items() if each in text]


def of_strangers(system: LiveSystem) -> Iterator[str]:
    """Yield the answers to requests that carry secrets wherever a request can."""
    guess, token, password = (PLANTED[each] for each in ("typed webhook secret", "typed token", "typed password"))
    headers = {
        "Authorization": f"Token {token}",
        "Cookie": f"sessionid={token}; csrftoken={password}",
        "X-Api-Key": token,
        "Referer": f"http://trader:{password}@localhost/?token={token}",
    }
    body = json.dumps({"secret": guess, "passphrase": password, "Order": "order open long", "token": token})
    for path in (f"/webhook/{guess}", f"/webhook/{system.secret}/", f"/nowhere?token={token}&signature={guess}"):
        yield post(system, path, body, headers=headers).text
    for path in (f"/api/v1/orders/?api_key={token}", f"/health/ready?token={token}", f"/admin/login/?secret={guess}"):
        yield post(system, path, {"username": "trader", "password": password}, headers=headers).text
    yield post(system, f"/webhook/{system.secret}", b'{"token": "' + token.encode() + b'", broken').text


def make_channel(system: LiveSystem) -> None:
    address = f"json://trader:{PLANTED['typed password']}@127.0.0.1:9/{PLANTED['channel token']}"
    made = f"from pelusa.models import Channel; Channel.objects.create(name='planted', url={address!r})"
    system.manage("shell", "-c", made)


def channel_failed(system: LiveSystem) -> bool:
    schema = system.schemas["default"]
    return bool(execute(f"SELECT 1 FROM `{schema}`.pelusa_channel WHERE failures > 0"))


def metrics(system: LiveSystem, api: Any) -> str:
    return str(api.session.get(f"{system.url}/metrics", timeout=10).text)


@pytest.mark.django_db(databases=DATABASES)
def test_s13_on_sqlite_what_was_planted_is_in_no_column_answer_or_line() -> None:
    written: list[str] = []
    sink = logger.add(lambda message: written.append(str(message.record)), level="TRACE", format="{message}")
    logger.configure(patcher=logs.patch)
    api, browser = client_of("superuser"), browser_of()
    keys = {"api_key": PLANTED["account key"], "api_secret": PLANTED["account secret"]}
    answers = [api.post("/api/v1/accounts/", {"name": "planted", **keys}, format="json").content]
    Channel.objects.create(name="planted", url=f"json://127.0.0.1:9/{PLANTED['channel token']}")
    (account,) = Account.objects.all()
    try:
        raise RuntimeError(f"broke with {account.api_key} and {Channel.objects.get().url}")
    except RuntimeError:
        logger.bind(account=account.api_secret).exception("planted {}", account.__dict__)
    answers += [api.get(f"/api/v1/{each}/").content for each in ("accounts", "audit", "notices")]
    answers += [browser.get(page, follow=True).content for page in PAGES]
    logger.remove(sink)
    searched = {"lines": "".join(written), "answers": str(answers), "columns": columns_of_all_tables()}
    assert all("planted" in text for text in searched.values())
    assert not [(where, name) for where, text in searched.items() for name, each in PLANTED.items() if each in text]


PAGES = [f"/admin/{each}/" for each in ("exchange/account", "exchange/account/1/change", "pelusa/channel")]
PAGES += ["/admin/pelusa/auditentry/", "/metrics"]


def columns_of_all_tables() -> str:
    told = []
    for alias in DATABASES:
        with connections[alias].cursor() as cursor:
            for table in connections[alias].introspection.table_names(cursor):
                cursor.execute(f"SELECT * FROM {connections[alias].ops.quote_name(table)}")
                told.append(str(cursor.fetchall()))
    return "".join(told)


LOOKS_SECRET = re.compile(
    r"(?x) -----BEGIN\ [A-Z ]*PRIVATE\ KEY | \bAKIA[0-9A-Z]{16}\b | \bgh[pousr]_[A-Za-z0-9]{36}\b"
    r" | \b\d{8,10}:AA[A-Za-z0-9_-]{33}\b | \bgAAAAA[A-Za-z0-9_=-]{60,} | \bxox[abp]-[A-Za-z0-9-]{20,}"
    r" | discord(?:app)?\.com/api/webhooks/\d{17,}/[\w-]{60,}"
)


@pytest.mark.parametrize("what", [["grep", "-hI", "-e", ""], ["log", "-p", "--all", "--no-color"]])
def test_s26_nothing_in_the_repository_looks_like_a_secret_now_or_before(what: list[str]) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("without its history")
    text = subprocess.run(["git", *what], cwd=ROOT, capture_output=True, check=True).stdout.decode(errors="replace")
    assert not LOOKS_SECRET.findall(text)


def test_s26_no_file_of_secrets_was_ever_committed() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("without its history")
    names = ["git", "log", "--all", "--name-only", "--pretty=format:"]
    files = subprocess.run(names, cwd=ROOT, capture_output=True, check=True, text=True).stdout.split()
    assert not [each for each in files if Path(each).name in (".env", "secret_key", "field_encryption_key")]
