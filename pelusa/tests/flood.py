"""A flood of bad requests from a process of its own: `python -m pelusa.tests.flood PORT SECRET SECONDS RATE`.

Open loop: a request is due at its time whether or not those before it were answered. To this machine alone, for so long
and no longer. Prints, as JSON, how many were sent and how many were answered with which status.
"""

import json
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from itertools import cycle

CONNECTIONS = 32


def requests(port: int, secret: str) -> list[bytes]:
    """Return one request of each kind that must be refused."""
    host = f"Host: localhost:{port}"
    return [
        _request("POST", "/webhook/not-the-secret-at-all", host, body=b'{"Ticker": "BTCUSDT.P"}'),
        _request("POST", "/webhook", host, body=b'{"secret": "nor-this-one-is-right"}'),
        _request("POST", f"/webhook/{secret}", "Host: evil.example", body=b"{}"),
        _request("GET", f"/webhook/{secret}", host),
        _request("POST", f"/webhook/{secret}", host, "Content-Encoding: gzip", body=b"\x1f\x8b"),
        _request("GET", "/api/v1/alarms/", host, "Authorization: Token nobody-has-this-one"),
        _request("GET", "/no/such/page", host),
        _request("POST", "/admin/login/", host, body=b"username=admin&password=guess"),
    ]


def _request(method: str, path: str, *headers: str, body: bytes = b"") -> bytes:
    head = [f"{method} {path} HTTP/1.1", *headers, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(head).encode() + body


class Sender(threading.Thread):
    """One connection's share of the flood; a connection that was closed is opened anew."""

    def __init__(self, port: int, wanted: Sequence[bytes], interval: float, ends_at: float) -> None:
        super().__init__(daemon=True)
        self.port, self.wanted, self.interval, self.ends_at = port, cycle(wanted), interval, ends_at
        self.sent, self.statuses = 0, Counter[str]()
        self._connection: socket.socket | None = None

    def run(self) -> None:
        due = time.monotonic()
        while due < self.ends_at and time.monotonic() < self.ends_at:
            time.sleep(max(due - time.monotonic(), 0))
            self._send(next(self.wanted))
            due += self.interval

    def _send(self, request: bytes) -> None:
        self.sent += 1
        try:
            if self._connection is None:
                self._connection = socket.create_connection(("127.0.0.1", self.port), timeout=5)
            self._connection.sendall(request)
            answer = self._connection.recv(65_536)
        except OSError as error:
            answer = type(error).__name__.encode()
        self.statuses[answer[9:12].decode("latin-1") if answer.startswith(b"HTTP/1.1 ") else "none"] += 1
        # Whole or not, what follows of it would be read as the next answer's beginning
        if self._connection and (len(answer) >= 65_536 or b"keep-alive" not in answer[:1024].lower()):
            self._connection.close()
            self._connection = None


def main(port: int, secret: str, seconds: float, rate: float) -> None:
    ends_at = time.monotonic() + seconds
    kinds = requests(port, secret)
    senders = [
        Sender(port, kinds[number:] + kinds[:number], CONNECTIONS / rate, ends_at) for number in range(CONNECTIONS)
    ]
    for each in senders:
        each.start()
    for each in senders:
        each.join(seconds + 10)
    statuses = sum((each.statuses for each in senders), Counter[str]())
    print(json.dumps({"sent": sum(each.sent for each in senders), "statuses": statuses}))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), float(sys.argv[4]))
