"""Ask others within a time: many at once, and none of them for longer than we wait."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from time import monotonic
from typing import TypeVar

from django.utils import translation

from exchange.decoding import Unreadable
from exchange.errors import ExchangeError, NotSent, OutcomeUnknown

Answer = TypeVar("Answer")

MOST_AT_ONCE = 8


class Asker:
    """Ask one exchange until `until` (monotonic seconds); an error is an answer.

    Once it has fallen silent every further question gets the same error, so that a dead exchange costs one time-out.
    """

    def __init__(self, until: float) -> None:
        self._until = until
        self._silence: ExchangeError | None = None

    def __call__(self, read: Callable[[], Answer]) -> Answer | ExchangeError:
        if self._silence is None and monotonic() > self._until:
            self._silence = OutcomeUnknown("the examination's time was over before it was asked")
        if self._silence is not None:
            return self._silence
        try:
            return read()
        except ExchangeError as error:
            if _is_silence(error):
                self._silence = error
            return error


def _is_silence(error: ExchangeError) -> bool:
    """Tell whether nobody answered; an answer that cannot be read is one."""
    return isinstance(error, NotSent | OutcomeUnknown) and not error.code and not isinstance(error, Unreadable)


def ask_together(questions: Mapping[str, Callable[[], Answer]], seconds: float) -> dict[str, Answer]:
    """Ask all at once, in threads, and return the answers that came within `seconds`; who is late is left out.

    A question must not touch the database: its thread would keep a connection of its own.
    """
    if not questions:
        return {}
    pool = ThreadPoolExecutor(min(len(questions), MOST_AT_ONCE), thread_name_prefix="doctor")
    # The threads would speak the language of the settings, not the asker's
    language = translation.get_language()
    asked = {pool.submit(_in_language, language, question): name for name, question in questions.items()}
    done, _late = wait(asked, timeout=seconds)
    pool.shutdown(wait=False, cancel_futures=True)
    return {name: future.result() for future, name in asked.items() if future in done}


def _in_language(language: str | None, question: Callable[[], Answer]) -> Answer:
    with translation.override(language):
        return question()
