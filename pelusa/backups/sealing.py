"""Encrypt a stream with a passphrase, in pieces, so that it is never held whole. Pure.

A head, then pieces of 64 KiB, each sealed with AES-256-GCM under a key that scrypt makes of the passphrase and the
head's salt. A piece's nonce counts it and marks the last one: what was changed, cut short, put in another order or
taken from elsewhere (`about`) does not open.
"""

from collections.abc import Iterable, Iterator
from secrets import token_bytes

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

MAGIC = b"PELUSA1\n"
SALT, PREFIX, TAG = 16, 7, 16
HEAD = len(MAGIC) + SALT + PREFIX
PIECE = 65_536


class NotOpened(Exception):
    """The passphrase is another one, or the bytes are not those that were sealed."""


def seal(chunks: Iterable[bytes], passphrase: str, about: str) -> Iterator[bytes]:
    """Yield the head and the sealed pieces of a stream."""
    salt, prefix = token_bytes(SALT), token_bytes(PREFIX)
    cipher = _cipher(passphrase, salt)
    yield MAGIC + salt + prefix
    for number, (piece, is_last) in enumerate(pieces(chunks, PIECE)):
        yield cipher.encrypt(_nonce(prefix, number, is_last), piece, about.encode())


def unseal(chunks: Iterable[bytes], passphrase: str, about: str) -> Iterator[bytes]:
    """Yield what was sealed; raise `NotOpened` at the first piece that does not open."""
    stream = iter(chunks)
    head, rest = _head(stream)
    if not head.startswith(MAGIC) or len(head) < HEAD:
        raise NotOpened("it was not sealed by Pelusa")
    salt, prefix = head[len(MAGIC) : -PREFIX], head[-PREFIX:]
    cipher = _cipher(passphrase, salt)
    for number, (piece, is_last) in enumerate(pieces(_behind(rest, stream), PIECE + TAG)):
        try:
            yield cipher.decrypt(_nonce(prefix, number, is_last), piece, about.encode())
        except InvalidTag:
            raise NotOpened("the passphrase is another one, or the file was changed or cut short") from None


def pieces(chunks: Iterable[bytes], size: int) -> Iterator[tuple[bytes, bool]]:
    """Yield a stream in pieces of `size` bytes, each with whether it is the last; that one may be shorter or empty."""
    held = bytearray()
    for chunk in chunks:
        held += chunk
        while len(held) > size:
            yield bytes(held[:size]), False
            del held[:size]
    yield bytes(held), True


def _head(stream: Iterator[bytes]) -> tuple[bytes, bytes]:
    held = b""
    while len(held) < HEAD and (chunk := next(stream, b"")):
        held += chunk
    return held[:HEAD], held[HEAD:]


def _behind(first: bytes, stream: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from stream


def _cipher(passphrase: str, salt: bytes) -> AESGCM:
    return AESGCM(Scrypt(salt=salt, length=32, n=2**15, r=8, p=1).derive(passphrase.encode()))


def _nonce(prefix: bytes, number: int, is_last: bool) -> bytes:
    return prefix + number.to_bytes(4, "big") + bytes([is_last])
