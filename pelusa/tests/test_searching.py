"""The search for secrets has teeth: what is leaked on purpose, each time on the real way, is found and not shown."""

import base64
import gzip
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.http import HttpResponse, StreamingHttpResponse
from django.test import RequestFactory
from loguru import logger

from pelusa import logs
from pelusa.livesystem import ROOT, LiveSystem
from pelusa.middleware import RequestContext
from pelusa.supervisor import ProcessSpec
from pelusa.testing import DATABASES
from pelusa.tests.making import client_of, make_account
from pelusa.tests.planted import another, field_key, found_in, planted
from pelusa.tests.searching import ALLOWED, SEARCH, Allowed, Plugin, Search

LEAK = planted("password", "leaked on purpose")
HALVES = LEAK[:8], LEAK[8:]


@pytest.fixture(autouse=True)
def nothing_printed(request: pytest.FixtureRequest) -> Iterator[None]:
    """Leave no sink but the search's own: what is printed is searched too, and fails whatever test printed it."""
    logger.remove()
    request.config.pluginmanager.getplugin("searching-for-secrets").listen_to_lines()
    yield
    logs.configure(settings.LOGGING)


def taken() -> set[tuple[str, str]]:
    return {(find.kind, find.place) for find in SEARCH.take()}


def test_a_secret_in_a_line_is_found() -> None:
    logger.info("it is {}", LEAK)
    logger.bind(of=LEAK).warning("bound")
    try:
        raise RuntimeError(LEAK)
    except RuntimeError:
        logger.exception("raised")
    finds = SEARCH.take()
    assert [find.kind for find in finds] == ["password"]
    assert finds[0].place == f"line of {__name__}:test_a_secret_in_a_line_is_found"
    assert finds[0].test.endswith("::test_a_secret_in_a_line_is_found")


@pytest.mark.parametrize("how", ["message", "bound", "exception"])
def test_each_part_of_a_line_is_searched(how: str) -> None:
    if how == "exception":
        logger.opt(exception=ValueError(LEAK)).info("an error")
    else:
        logger.bind(of=LEAK if how == "bound" else "").info("{}", LEAK if how == "message" else "")
    assert len(taken()) == 1


@pytest.mark.django_db(databases=DATABASES)
def test_a_secret_in_a_row_and_in_an_answer_is_found() -> None:
    make_account(LEAK)
    assert taken() == {("password", "row of exchange_account")}
    client_of().get("/api/v1/accounts/")
    assert taken() == {("password", "answer GET account-list 200: body")}


@pytest.mark.django_db(databases=DATABASES)
def test_a_secret_that_a_statement_changes_or_holds_is_found() -> None:
    account = make_account()
    type(account).objects.filter(pk=account.pk).update(name=LEAK)
    assert taken() == {("password", "row of exchange_account")}
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE exchange_account SET name = '{LEAK}'")
        cursor.executemany("UPDATE exchange_account SET name = %s", [("harmless",), (LEAK,)])
    assert taken() == {("password", "row of exchange_account")}


@pytest.mark.django_db(databases=DATABASES)
def test_what_stands_in_the_databases_at_the_end_is_found() -> None:
    search = Search()
    make_account(LEAK)
    assert taken()
    search.databases()
    assert ("password", "row of exchange_account") in {(find.kind, find.place) for find in search.take()}


@pytest.mark.parametrize("part", ["head", "body", "stream", "cookie", "reason"])
def test_each_part_of_an_answer_is_searched(part: str) -> None:
    answer = HttpResponse(LEAK if part == "body" else "", headers={"X-Odd": LEAK} if part == "head" else {})
    if part == "stream":
        answer = StreamingHttpResponse(iter(HALVES))
    if part == "cookie":
        answer.set_cookie("odd", LEAK)
    if part == "reason":
        answer.reason_phrase = LEAK
    seen = RequestContext(lambda request: answer)(RequestFactory().get("/"))
    if part == "stream":
        assert b"".join(seen) == LEAK.encode()
    [(kind, place)] = taken()
    assert kind == "password"
    assert place.startswith("answer GET nowhere 200: ")


@pytest.mark.parametrize("name", ["pelusa.log", "pelusa.2026.log.gz", "operations.sqlite3"])
def test_a_secret_in_a_file_of_a_system_is_found(tmp_path: Path, name: str) -> None:
    (tmp_path / "log").mkdir()
    content = f"a line\nand {LEAK} in it".encode()
    (tmp_path / "log" / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    search = Search(also={"made-elsewhere": "API token"})
    search.folder(tmp_path)
    assert [(find.kind, find.place) for find in search.take()] == [("password", f"file {name}")]
    (tmp_path / "output").write_text("printed: made-elsewhere")
    search.folder(tmp_path)
    assert {find.kind for find in search.take()} == {"password", "API token"}


class WithoutProcesses(LiveSystem):
    """Databases and a folder alone."""

    def specs(self) -> list[ProcessSpec]:
        return []


@pytest.mark.servers
def test_a_system_is_searched_before_its_databases_are_dropped(tmp_path: Path) -> None:
    system = WithoutProcesses.on_our_servers(tmp_path)
    system.tokens.append(f"{'n' * 15}the rest of a token")
    made = "from django.contrib.auth.models import User; User.objects.create(username={!r}, first_name={!r})"
    with system.running():
        system.manage("shell", "-c", made.format(LEAK, "the rest of a token"))
        (tmp_path / "printed").write_text(system.secret)
    rows = {
        (kind, f"row of {table}") for kind in ("password", "API token") for table in ("auth_user", "pelusa_auditentry")
    }
    assert taken() == rows | {("webhook secret", "file printed")}


def test_a_secret_is_found_in_base64_too() -> None:
    assert found_in(base64.b64encode(f"ana:{LEAK}".encode())) == {"unknown"}
    assert all(found_in(base64.b64encode(b"x" * before + LEAK.encode()).decode()) for before in range(6))


def test_every_secret_carries_its_kind_and_no_other_text_does() -> None:
    assert found_in(field_key()) == {"field key"}
    assert found_in(another("session", 32)) == {"session"}
    assert found_in(f"{planted('passphrase')} {planted('channel token')}") == {"passphrase", "channel token"}
    assert found_in("0123456789abcdef" * 1000) == set()


def test_what_is_allowed_is_allowed_for_its_kind_and_place_alone() -> None:
    [shown] = [each for each in ALLOWED if each.kind == "API token"]
    search = Search()
    search.look(planted("API token"), "answer POST admin:knox_authtoken_add 200: body")
    assert not search.take()
    assert search.used == {shown}
    search.look(planted("password"), "answer POST admin:knox_authtoken_add 200: body")
    search.look(planted("API token"), "answer GET admin:knox_authtoken_add 200: body")
    assert len(search.take()) == 2


def test_what_is_allowed_in_vain_is_told_after_a_whole_run() -> None:
    used, unused = Allowed("session", "line", "why"), Allowed("session", "row", "why")
    plugin = Plugin(Search(allowed=(used, unused)))
    plugin.search.look(another("session"), "line")
    sources = pytest.Config.ArgsSource

    def told(source: Any, keyword: str = "") -> list[Allowed]:
        option = SimpleNamespace(keyword=keyword, lf=False, collectonly=False, markexpr="not servers and not browser")
        config: Any = SimpleNamespace(args_source=source, option=option)
        return plugin._unused(config)

    assert told(sources.TESTPATHS) == [unused]
    assert told(sources.ARGS) == told(sources.TESTPATHS, "one") == []


LEAKING = """
import pytest
from loguru import logger

@pytest.fixture(scope="session")
def late():
    yield
    logger.info("late {}", LEAK)

def test_one(late):
    logger.info("it is {}", LEAK)

def test_two():
    print(LEAK)

def test_three():
    pass
"""


@pytest.mark.parametrize("processes", ["0", "1"])
def test_a_run_with_a_leak_fails_and_does_not_show_it(tmp_path: Path, processes: str) -> None:
    (tmp_path / "test_leaking.py").write_text(f"LEAK = {LEAK!r}\n{LEAKING}")
    options = ["-c", str(ROOT / "pytest.ini"), "-p", "no:cacheprovider", "-n", processes]
    command = [sys.executable, "-m", "pytest", *options, str(tmp_path / "test_leaking.py")]
    ran = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
    assert ran.returncode == pytest.ExitCode.TESTS_FAILED, ran.stdout
    assert "3 passed, 3 errors" in ran.stdout
    assert "password in line of test_leaking:test_one, by" in ran.stdout
    assert "password in output Captured stdout call, by" in ran.stdout
    assert "password in line of test_leaking:late, by" in ran.stdout
    assert LEAK not in ran.stdout + ran.stderr
