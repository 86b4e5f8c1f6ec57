"""Faults for the doctor to find, each planted in the real thing: servers, files, sessions, addresses."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from django.core.wsgi import get_wsgi_application
from django.db import connections
from django.db.utils import ConnectionHandler

from pelusa.doctor.findings import Finding, Level


def words(findings: list[Finding], level: Level) -> set[str]:
    return {finding.word for finding in findings if finding.level == level}


def the(findings: list[Finding], word: str) -> Finding:
    """Return the one finding of that word."""
    [found] = [finding for finding in findings if finding.word == word]
    return found


@contextmanager
def serving(server: WSGIServer | ThreadingHTTPServer) -> Iterator[str]:
    """Serve in a thread for the length of the block; yields the address."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


class _Quiet(WSGIRequestHandler):
    def log_message(self, *args: Any) -> None: ...

    def address_string(self) -> str:
        return str(self.client_address[0])


def web_process() -> Any:
    """Serve Pelusa's own web application, with the settings of the test."""
    server = WSGIServer(("127.0.0.1", 0), _Quiet)
    server.set_app(get_wsgi_application())
    return serving(server)


def proxy(behind: str, address: str, *, speaks: bool = True, port: bool = False) -> Any:
    """Serve a reverse proxy that asks from `address` and, when it `speaks`, names its caller (with a port, if told)."""
    host, _, number = behind.removeprefix("http://").partition(":")

    class Proxy(BaseHTTPRequestHandler):
        def log_message(self, *args: Any) -> None: ...

        def _pass_on(self) -> None:
            caller = self.client_address[0] + (f":{self.client_address[1]}" if port else "")
            before = self.headers.get("X-Forwarded-For")
            headers = {name: value for name, value in self.headers.items() if name.lower() != "x-forwarded-for"}
            if speaks:
                headers["X-Forwarded-For"] = f"{before}, {caller}" if before else caller
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            line = HTTPConnection(host, int(number), timeout=10, source_address=(address, 0))
            line.request(self.command, self.path, body, headers)
            answer = line.getresponse()
            self.send_response(answer.status)
            said = answer.read()
            self.send_header("Content-Type", answer.headers.get("Content-Type", "text/plain"))
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)
            line.close()

        do_GET = do_POST = _pass_on  # noqa: N815 - http.server's names

    return serving(ThreadingHTTPServer(("127.0.0.1", 0), Proxy))


def answering(status: int, body: bytes = b"", **headers: str) -> Any:
    """Serve something that is not Pelusa and answers every POST alike."""

    class Stranger(BaseHTTPRequestHandler):
        def log_message(self, *args: Any) -> None: ...

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return serving(ThreadingHTTPServer(("127.0.0.1", 0), Stranger))


def elsewhere(**changes: Any) -> ConnectionHandler:
    """Return connections like ours whose `default` is another database."""
    return ConnectionHandler({"default": {**connections["default"].settings_dict, **changes}})
