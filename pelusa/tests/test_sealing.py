"""Sealed streams: whole or not at all, whatever the sizes, and only with the passphrase."""

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pelusa.backups.sealing import HEAD, PIECE, TAG, NotOpened, pieces, seal, unseal

PASSPHRASE, ABOUT = "a passphrase of the tests", "20261126T215500Z/alarms"
LONG = bytes(range(256)) * 1024


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE])
def test_what_was_sealed_opens_again_and_shows_nothing_of_itself(size: int) -> None:
    plain = LONG[:size]
    sealed = b"".join(seal([plain[:7], plain[7:]], PASSPHRASE, ABOUT))
    assert b"".join(unseal([sealed], PASSPHRASE, ABOUT)) == plain
    assert plain[:64] not in sealed or size < 16


@pytest.mark.parametrize(
    "changed",
    [
        lambda sealed: sealed[:-1],
        lambda sealed: sealed[: HEAD + PIECE + TAG],
        lambda sealed: sealed[:HEAD] + sealed[HEAD + PIECE + TAG :],
        lambda sealed: sealed[:HEAD] + sealed[HEAD + PIECE + TAG :] + sealed[HEAD : HEAD + PIECE + TAG],
        lambda sealed: sealed[:100] + bytes([sealed[100] ^ 1]) + sealed[101:],
        lambda sealed: sealed + b"\0",
        lambda sealed: b"",
        lambda sealed: b"SQLite format 3\0" + sealed,
    ],
    ids=["a byte less", "a piece less", "the first piece less", "other order", "a bit", "a byte more", "empty", "none"],
)
def test_what_was_changed_does_not_open(changed: object) -> None:
    sealed = b"".join(seal([LONG[: 2 * PIECE + 5]], PASSPHRASE, ABOUT))
    with pytest.raises(NotOpened):
        list(unseal([changed(sealed)], PASSPHRASE, ABOUT))  # type: ignore[operator]


def test_another_passphrase_or_another_place_opens_nothing() -> None:
    sealed = b"".join(seal([b"orders"], PASSPHRASE, ABOUT))
    for passphrase, about in ((PASSPHRASE + "x", ABOUT), (PASSPHRASE, "20261126T215500Z/operations")):
        with pytest.raises(NotOpened, match="passphrase"):
            list(unseal([sealed], passphrase, about))


@hypothesis_settings(max_examples=200)
@given(st.lists(st.binary(max_size=40)), st.integers(1, 16))
def test_pieces_are_the_stream_and_only_the_last_may_be_short(chunks: list[bytes], size: int) -> None:
    cut = list(pieces(chunks, size))
    assert b"".join(piece for piece, _ in cut) == b"".join(chunks)
    assert all(len(piece) == size for piece, _ in cut[:-1])
    assert [is_last for _, is_last in cut] == [False] * (len(cut) - 1) + [True]
