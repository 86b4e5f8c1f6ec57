"""A plugin of pytest: what the whole suite leaves behind is searched for the secrets that it uses.

Searched are every log line that reaches a sink, what was printed, every HTTP answer, every row that is written and,
at the end, every row and file that is left. A find fails its test by kind and place; its value is never shown.
"""

import gzip
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pelusa.tests.planted import another, field_key, found_in, mark, planted


class Find(NamedTuple):
    """A secret that somebody could read."""

    kind: str
    place: str
    test: str

    def __str__(self) -> str:
        return f"{self.kind} in {self.place}, by {self.test}"


class Allowed(NamedTuple):
    """A place where a secret may be shown, and why; whatever else shows one has leaked it."""

    kind: str
    place: str
    reason: str

    def covers(self, kind: str, place: str) -> bool:
        return kind == self.kind and re.fullmatch(self.place, place) is not None


ALLOWED = (
    Allowed("API token", r"answer POST admin:knox_authtoken_add 200: body", "a new token is shown this once"),
    Allowed("password", r"answer POST admin:login 200: body", "the form keeps what was typed as the user's name"),
    Allowed(
        "webhook secret",
        r"answer over a socket: HTTP/1.1 400 Bad Request",
        "gunicorn repeats a broken request line to whoever sent it",
    ),
    Allowed("session", r"answer .*: cookie pelusa-session", "whoever logs in takes his own session with him"),
)
_WRITES = re.compile(r"(?is)\s*(?:(?:INSERT|REPLACE)\b.*?\bINTO|UPDATE)\s+[`\"]?(?P<table>\w+)")


@dataclass
class Search:
    """What was searched and what was found."""

    allowed: tuple[Allowed, ...] = ALLOWED
    test: str = "the beginning"
    finds: list[Find] = field(default_factory=list)
    used: set[Allowed] = field(default_factory=set)
    counts: dict[str, int] = field(default_factory=dict)
    # Secrets without a mark, by value: those that another process made
    also: dict[str, str] = field(default_factory=dict)

    def look(self, text: str | bytes, place: str) -> None:
        """Search a text; the first word of a place is what sort it is: line, output, answer, row or file."""
        sort = place.partition(" ")[0]
        self.counts[sort] = self.counts.get(sort, 0) + 1
        for kind in found_in(text) | self._others_in(text):
            self._note(kind, place)

    def _others_in(self, text: str | bytes) -> set[str]:
        if not self.also:
            return set()
        told = text if isinstance(text, str) else text.decode("latin-1")
        return {kind for value, kind in self.also.items() if value in told}

    def _note(self, kind: str, place: str) -> None:
        excused = [each for each in self.allowed if each.covers(kind, place)]
        self.used.update(excused)
        if not excused:
            self.finds.append(Find(kind, place, self.test))

    @contextmanager
    def knowing(self, also: dict[str, str]) -> Iterator[None]:
        """Look for more secrets, by value, for the length of the block."""
        self.also |= also
        try:
            yield
        finally:
            self.also = {value: kind for value, kind in self.also.items() if value not in also}

    def take(self) -> list[Find]:
        """Return what was found since the last call, each once."""
        taken, self.finds = list(dict.fromkeys(self.finds)), []
        return taken

    # Lines

    def line(self, message: Any) -> None:
        """Search a line as Loguru hands it to its sinks, with all that was bound to it."""
        from pelusa import logs

        record = message.record
        # The line that a format leaves in its record is another sink's
        copied = record | {"extra": {key: value for key, value in record["extra"].items() if key != "line"}}
        logs.as_text(copied)
        self.look(copied["extra"]["line"], f"line of {record['name']}:{record['function']}")

    # Answers

    def answer(self, request: Any, response: Any) -> Any:
        """Search what Django answers, or will have answered when it was read to its end."""
        place = f"answer {request.method} {_route(request)} {response.status_code}"
        self.look(f"{response.reason_phrase} {dict(response.headers)}", f"{place}: head")
        for name, cookie in response.cookies.items():
            self.look(str(cookie), f"{place}: cookie {name}")
        if response.streaming:
            response.streaming_content = self._streamed(response.streaming_content, f"{place}: body")
        else:
            self.look(response.content, f"{place}: body")
        return response

    def _streamed(self, chunks: Iterable[bytes], place: str) -> Iterator[bytes]:
        before = b""
        for chunk in chunks:
            self.look(before + chunk, place)
            before = chunk[-64:]
            yield chunk

    def answer_of_a_process(self, answer: Any) -> None:
        """Search what Pelusa answered from another process."""
        if "X-Request-ID" in answer.headers:
            place = f"answer {answer.request.method} of a process {answer.status_code}"
            self.look(f"{answer.reason} {dict(answer.headers)}", f"{place}: head")
            self.look(answer.content, f"{place}: body")

    # Rows and files

    def statement(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        """Search what a statement writes; Django calls it around each."""
        if write := _WRITES.match(sql):
            place = f"row of {write['table']}"
            self.look(sql, place)
            for values in params if many else (params or (),):
                self.values(values.values() if isinstance(values, dict) else values, place)
        return execute(sql, params, many, context)

    def rows(self, rows: Iterable[Iterable[Any]], table: str) -> None:
        for row in rows:
            self.values(row, f"row of {table}")

    def values(self, values: Iterable[Any], place: str) -> None:
        """Search the texts of a row, all at once."""
        told = (each if isinstance(each, str) else each.decode("latin-1") for each in values if _is_text(each))
        self.look("\n".join(told), place)

    def databases(self) -> None:
        """Search all rows of the tests' databases and, where they are files, every byte."""
        from django.db import connections

        for connection in connections.all(initialized_only=True):
            with connection.cursor() as cursor:
                for table in connection.introspection.table_names(cursor):
                    cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
                    self.rows(cursor.fetchall(), table)
            if connection.vendor == "sqlite":
                name = Path(connection.settings_dict["NAME"])
                for each in name.parent.glob(f"{name.name}*"):
                    self.look(each.read_bytes(), f"file {each.name}")

    def folder(self, home: Path) -> None:
        """Search every file that a system leaves; what is packed is unpacked."""
        for each in home.rglob("*"):
            if each.is_file():
                content = each.read_bytes()
                self.look(gzip.decompress(content) if each.suffix == ".gz" else content, f"file {each.name}")


def _is_text(value: Any) -> bool:
    return isinstance(value, str | bytes)


def _route(request: Any) -> str:
    match = getattr(request, "resolver_match", None)
    return match.view_name or match.route if match else "nowhere"


SEARCH = Search()


class Plugin:
    """Listens wherever a secret could be written, from the first test to the last."""

    def __init__(self, search: Search) -> None:
        self.search = search
        self.patch = pytest.MonkeyPatch()
        self._sink: int | None = None

    def start(self) -> None:
        """Mark what the tests' own secrets are made of, and listen."""
        _mark_what_is_born(self.patch)
        self._listen_to_answers()
        self._listen_to_statements()
        self._listen_to_systems()

    def _listen_to_answers(self) -> None:
        import requests

        from pelusa.middleware import RequestContext

        answer, send, search = RequestContext.__call__, requests.Session.send, self.search

        def answered(context: Any, request: Any) -> Any:
            return search.answer(request, answer(context, request))

        def sent(session: Any, request: Any, **options: Any) -> Any:
            received = send(session, request, **options)
            if not options.get("stream"):
                search.answer_of_a_process(received)
            return received

        self.patch.setattr(RequestContext, "__call__", answered)
        self.patch.setattr(requests.Session, "send", sent)

    def _listen_to_statements(self) -> None:
        from django.db.backends.signals import connection_created

        connection_created.connect(self._listen_on, dispatch_uid="searching")

    def _listen_on(self, connection: Any, **kwargs: Any) -> None:
        if self.search.statement not in connection.execute_wrappers:
            connection.execute_wrappers.insert(0, self.search.statement)

    def _listen_to_systems(self) -> None:
        from pelusa.livesystem import LiveSystem

        made, search = LiveSystem.__init__, self.search

        def make(system: Any, *args: Any, **options: Any) -> None:
            made(system, *args, **{"secret": another("webhook secret")} | options)

        def look(system: Any) -> None:
            # The first 15 characters are a token's name
            tokens = {token[15:]: "API token" for token in system.tokens}
            with search.knowing(tokens | {system.secret: "webhook secret"}):
                search.folder(system.home)
                for table, rows in system.tables():
                    search.rows(rows, table)

        self.patch.setattr(LiveSystem, "__init__", make)
        self.patch.setattr(LiveSystem, "last_look", look)

    def listen_to_lines(self) -> None:
        """Add our sink again: tests take all sinks away, and configure the log anew."""
        from loguru import logger

        if self._sink is not None:
            with suppress(ValueError):
                logger.remove(self._sink)
        self._sink = logger.add(self.search.line, level=0, format="{message}", catch=False)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        self.search.test = item.nodeid
        self.listen_to_lines()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
        report: pytest.TestReport = yield
        for name, content in report.sections:
            # A section of log lines has them as the standard library's loggers told them, before they were masked
            if name.endswith(report.when or "") and not name.startswith("Captured log"):
                self.search.look(content, f"output {name}")
        if report.when == "teardown" and (finds := self.search.take()):
            report.outcome = "failed"
            report.longrepr = "\n".join(["secrets were found:", *map(str, finds)])
            # What was printed is told with an error, and may hold the secret
            report.sections = []
        return report

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """Take over what a process of xdist has searched."""
        counts, used, finds = getattr(node, "workeroutput", {}).get("searched", ({}, [], []))
        for sort, count in counts.items():
            self.search.counts[sort] = self.search.counts.get(sort, 0) + count
        self.search.used.update(Allowed(*each) for each in used)
        self.search.finds += [Find(*each) for each in finds]

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self.patch.undo()
        output, search = getattr(session.config, "workeroutput", None), self.search
        if output is not None:
            output["searched"] = search.counts, [tuple(each) for each in search.used], [*map(tuple, search.finds)]
        elif session.exitstatus == pytest.ExitCode.OK and (search.finds or self._unused(session.config)):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        counts = ", ".join(f"{count:,} of {sort}" for sort, count in sorted(self.search.counts.items()))
        terminalreporter.write_line(f"searched for secrets: {counts or 'nothing'}")
        for each in dict.fromkeys(self.search.finds):
            terminalreporter.write_line(f"a secret was found: {each}", red=True)
        for unused in self._unused(terminalreporter.config):
            terminalreporter.write_line(f"no test needs this to be allowed: {unused}", red=True)

    def _unused(self, config: pytest.Config) -> list[Allowed]:
        """Return what is allowed in vain, once everything has run."""
        return [each for each in self.search.allowed if each not in self.search.used] if _is_whole(config) else []


def _is_whole(config: pytest.Config) -> bool:
    """Tell whether nobody chose among the tests, but for those that need servers or a browser."""
    chosen = config.option
    is_chosen = (
        chosen.keyword or getattr(chosen, "lf", False) or chosen.collectonly or "not browser" not in chosen.markexpr
    )
    return config.args_source == pytest.Config.ArgsSource.TESTPATHS and not is_chosen


def _mark_what_is_born(patch: pytest.MonkeyPatch) -> None:
    """Let the keys of paper accounts, tokens and sessions have their marks."""
    import types

    from django.contrib.sessions.backends.base import SessionBase
    from knox import crypto

    from exchange import paper_accounts

    new_token, new_session = crypto.create_token_string, SessionBase._get_new_session_key
    kinds = {12: "exchange key", 24: "exchange secret"}
    made = types.SimpleNamespace(token_hex=lambda size: another(kinds[size], size * 2))
    patch.setattr(paper_accounts, "secrets", made)
    # The first 15 characters are a token's name, which is shown
    patch.setattr(crypto, "create_token_string", lambda: (name := new_token())[:16] + mark("API token") + name[30:])
    patch.setattr(SessionBase, "_get_new_session_key", lambda own: mark("session") + new_session(own)[14:])


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests() -> Iterator[None]:
    """Plant what Django's settings read, before pytest-django makes it read them."""
    os.environ["WEBHOOK_SECRETS"] = planted("webhook secret")
    os.environ["SECRET_KEY"] = planted("secret key")
    os.environ["FIELD_ENCRYPTION_KEYS"] = field_key()
    return (yield)


def pytest_configure(config: pytest.Config) -> None:
    plugin = Plugin(SEARCH)
    config.pluginmanager.register(plugin, "searching-for-secrets")
    plugin.start()
