"""The web process's socket: it collects a request without waiting, and waits for no client for ever."""

import socket

import pytest

from pelusa import patience
from pelusa.patience import TimedSocket


def test_a_client_that_does_not_read_its_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "ANSWER_SECONDS", 0.2)
    theirs, client = socket.socketpair()
    with client, TimedSocket.taking(theirs) as ours:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert ours.is_whole()
        ours.allow(1.0)
        # As gunicorn does before it lets a thread read
        ours.setblocking(True)
        assert ours.recv(8192)
        assert ours.gettimeout() == 0.2
        with pytest.raises(TimeoutError):
            ours.sendall(b"x" * 10_000_000)


REQUEST = b"GET / HTTP/1.1\r\n\r\n"


@pytest.mark.parametrize(
    ("said", "goes_on", "ahead"), [(REQUEST, True, REQUEST), (REQUEST[:9], False, REQUEST[:9]), (b"", False, b"")]
)
def test_a_thread_listens_for_a_moment_whether_the_client_goes_on(said: bytes, goes_on: bool, ahead: bytes) -> None:
    theirs, client = socket.socketpair()
    with client, TimedSocket.taking(theirs) as ours:
        client.sendall(said)
        assert ours.goes_on() is goes_on
        assert ours.ahead == ahead


def test_a_client_that_hung_up_goes_on_to_its_end() -> None:
    theirs, client = socket.socketpair()
    with TimedSocket.taking(theirs) as ours:
        client.close()
        assert ours.goes_on()
        assert ours.recv(8192) == b""
