"""Every log line through Loguru: ours, Django's, Celery's and gunicorn's. An event is one line; no line holds a secret.

Secrets are masked by key (`password=…`, `Authorization: …`), by place (`/webhook/…`, `mysql://user:…@`) and by value:
`mask` registers what is secret, settings at the start and account keys when they are read.
"""

import json
import logging
import os
import re
import sys
import traceback
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO
from urllib.parse import quote

from django.core.exceptions import ImproperlyConfigured
from loguru import logger

from pelusa.logfile import SharedFile
from pelusa.sampling import Sampler

MASK = "***"
# Shorter values are ordinary words too often; they are still masked by key and by place
SHORTEST_VALUE = 6
LONGEST_TEXT = 4000
DEEPEST = 4
_ROTATED = {"most_bytes": 20_000_000, "kept": 10}

_KEY_WORDS = (
    r"secret|token|passphrase|passwd|password|signature|api[-_]?key|authorization|cookie|credential|session_?id"
)
_SECRET_KEY = re.compile(rf"(?i){_KEY_WORDS}")
_QUOTED = r"\"(?:[^\"\\]|\\.)*\"?|'(?:[^'\\]|\\.)*'?"
# As in a JSON text inside a JSON text
_ESCAPED = r"\\+\"(?:(?!\\+\").)*|\\+'(?:(?!\\+').)*"
# No alternative may begin inside a run of letters: each start would read the run again
_IN_TEXT = re.compile(
    rf"""(?ix)
    (?P<path> /webhook/+ ) [^\s"'?]+
    | (?P<url> (?<![a-z0-9+.-]) [a-z][a-z0-9+.-]*:// [^\s:/@]* : ) [^\s/@]+ (?=@)
    | (?P<cookie> \b(?:set-)?cookie["']? \s*[:=]\s* ) (?: {_QUOTED} | [^\r\n,}}\]]+ )
    | (?P<key> (?<![\w-]) (?> [\w-]*? (?:{_KEY_WORDS}) [\w-]*+ ) (?:\\?["'])? \s*+[:=]\s* )
      (?: b?(?:{_QUOTED}) | {_ESCAPED} | (?:(?:token|bearer|basic)\s+)? [^\s,;&"'}})\]]+ )
    """
)
# Control characters, line and paragraph ends of Unicode, marks that turn the reading direction, halves of surrogates
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
_SHORT_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_PLAIN_VALUE = re.compile(r"[^\s=\"'\\]+")

# Loggers that tell more than they should, or what our own request line says already
_FLOORS = {
    "django.request": logging.ERROR,
    "django.security.DisallowedHost": logging.CRITICAL,
    "django.db.backends": logging.INFO,
    "urllib3": logging.INFO,
    "kombu": logging.INFO,
    # A line for every sweep, every two seconds
    "celery.app.trace": logging.WARNING,
    "celery.worker.strategy": logging.WARNING,
    "celery.beat": logging.WARNING,
    "amqp": logging.INFO,
}
# What these say, anybody can make them say as often as he likes
_OF_STRANGERS = ("django.security", "axes", "gunicorn.error")
_strangers = Sampler()


class Secrets:
    """The values that must never be written, and one pattern that finds any of them."""

    def __init__(self) -> None:
        self._given: frozenset[str] = frozenset()
        self._values: frozenset[str] = frozenset()
        self._pattern: re.Pattern[str] | None = None

    def add(self, values: Iterable[str]) -> None:
        """Register values, as they are and as a URL would carry them."""
        # An account is read many times an order, its keys hardly ever change
        if self._given.issuperset(values := tuple(values)):
            return
        self._given |= frozenset(values)
        new = {form for value in values if len(value) >= SHORTEST_VALUE for form in (value, quote(value, safe=""))}
        if new <= self._values:
            return
        self._values |= new
        # The longest first, so that no tail of one is left where another is its beginning
        self._pattern = re.compile("|".join(re.escape(value) for value in sorted(self._values, key=len, reverse=True)))

    def hide(self, text: str) -> str:
        return self._pattern.sub(MASK, text) if self._pattern else text


_secrets = Secrets()


def mask(*values: str) -> None:
    """Never let these values be written from now on."""
    _secrets.add(values)


def masked(text: str) -> str:
    """Return a text without anything secret in it, as far as keys, places and registered values tell."""
    return _IN_TEXT.sub(_keep_name, _secrets.hide(text))


def _keep_name(match: re.Match[str]) -> str:
    return f"{match[str(match.lastgroup)]}{MASK}"


def one_line(text: str) -> str:
    """Return a text that cannot begin a new line, move the cursor or hide what stands after it."""
    return _UNPRINTABLE.sub(lambda match: _SHORT_ESCAPES.get(match[0], f"\\u{ord(match[0]):04x}"), text)


def clean(text: str) -> str:
    """Return a text as it may be written: masked, on one line, and not longer than `LONGEST_TEXT`."""
    # Cut with room to spare first: a secret that the cut halves would not be recognised
    cut = one_line(masked(text[: 2 * LONGEST_TEXT]))
    return cut if len(cut) <= LONGEST_TEXT else f"{cut[:LONGEST_TEXT]}… ({len(text)} characters)"


@lru_cache(maxsize=256)
def _names_a_secret(key: str) -> bool:
    return _SECRET_KEY.search(key) is not None


def clean_value(value: Any, key: str = "", depth: int = 0) -> Any:
    """Return a bound value as it may be written; numbers stay numbers, what is named like a secret is masked."""
    if _names_a_secret(key) and value not in (None, ""):
        return MASK
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth < DEEPEST and isinstance(value, Mapping):
        return {clean(str(name)): clean_value(each, str(name), depth + 1) for name, each in value.items()}
    if depth < DEEPEST and isinstance(value, list | tuple | set | frozenset):
        return [clean_value(each, "", depth + 1) for each in value]
    return clean(_text_of(value))


def _text_of(value: Any) -> str:
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001 - a log line must never break what it tells of
        return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"


def patch(record: Any) -> None:
    """Clean a record before any sink sees it, and replace its exception with one line of text."""
    record["message"] = clean(record["message"])
    # "line" is ours: whoever bound it would write a line of his own
    record["extra"] = {key: clean_value(value, key) for key, value in record["extra"].items() if key != "line"}
    if record["exception"]:
        record["extra"]["exception"] = clean(told(record["exception"].value))
        record["exception"] = None


def told(error: BaseException | None) -> str:
    """Return an exception, what caused it, and where each was raised, innermost call first; no source, no values."""
    parts: list[str] = []
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        parts.append(f"{type(error).__name__}: {_text_of(error)} [{_calls(error.__traceback__)}]")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return " caused by ".join(parts)


def _calls(trace: TracebackType | None) -> str:
    frames = reversed(traceback.extract_tb(trace))
    return " < ".join(f"{_place(frame.filename)}:{frame.lineno} {frame.name}" for frame in frames)


def _place(filename: str) -> str:
    """Return a file without the folders above its package."""
    return "/".join(Path(filename).parts[-3:])


def as_text(record: Any) -> str:
    """Return the format of a line for people, with the line itself in the record: one for console and file."""
    if "line" not in record["extra"]:
        record["extra"]["line"] = _text_line(record)
    return "{extra[line]}\n"


def _text_line(record: Any) -> str:
    extra = " ".join(f"{key}={_shown(value)}" for key, value in record["extra"].items())
    where = f"{record['name']}:{record['function']}:{record['line']}"
    line = f"{_time(record)} {record['level'].name:<8} {where} {record['message']}"
    return f"{line} | {extra}" if extra else line


def as_json(record: Any) -> str:
    """Return the format of a line for machines, with the line itself in the record: one for console and file."""
    if "line" not in record["extra"]:
        record["extra"]["line"] = _json_line(record)
    return "{extra[line]}\n"


def _json_line(record: Any) -> str:
    told_first = {
        "time": _time(record),
        "level": record["level"].name,
        "message": record["message"],
        "logger": record["name"],
        "function": record["function"],
        "line": record["line"],
        "process": record["process"].id,
    }
    return json.dumps({**record["extra"], **told_first}, default=str)


def _time(record: Any) -> str:
    moment = record["time"].astimezone(UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if _PLAIN_VALUE.fullmatch(text) else json.dumps(text, ensure_ascii=False)


class ThroughLoguru(logging.Handler):
    """Hand a line of the standard library's logging on."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except (TypeError, ValueError):
            text = str(record.msg)
        left_out = _admit(record)
        if left_out is None:
            return
        line = _as_from(record).opt(exception=record.exc_info)
        # The text is an argument: as a format it would be looked into
        (line.bind(left_out=left_out) if left_out else line).log(_level(record), "{}", text)


def _admit(record: logging.LogRecord) -> int | None:
    """Return how many lines from the same place were left out before this one; None when this one is too."""
    if record.levelno > logging.WARNING or not record.name.startswith(_OF_STRANGERS):
        return 0
    return _strangers.admit((record.name, record.lineno))


def _as_from(record: logging.LogRecord) -> Any:
    def name_the_caller(ours: Any) -> None:
        ours.update(name=record.name, function=record.funcName, line=record.lineno)

    return logger.patch(name_the_caller)


def _level(record: logging.LogRecord) -> str | int:
    known = {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}
    return record.levelname if record.levelname in known else record.levelno


def configure(config: Mapping[str, Any]) -> None:
    """Send every line to the console and to a rotated file: `level`, `json` (a line is an object) and `file` (or None).

    Django calls it at the start of every process; a second call replaces the first. Raises `ImproperlyConfigured`
    when the file cannot be written.
    """
    _mask_settings()
    _take_standard_logging(config["level"])
    common: dict[str, Any] = {
        "level": config["level"],
        "format": as_json if config["json"] else as_text,
        # Values of local variables are secrets too often
        "diagnose": False,
        "backtrace": False,
        "enqueue": False,
    }
    # The file before this one may be on a full disk, and its last lines lost: no reason not to start
    with suppress(OSError):
        logger.remove()
    logger.configure(patcher=patch)
    logger.add(_console(), colorize=False, **common)
    if config["file"]:
        _add_file(config["file"], common)


def _console() -> TextIO:
    """Return the error stream; where it was closed before the start, one that forgets what it is told."""
    # Python's own stand-in for a closed stream is None, whatever its type says
    if not sys.stderr:
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - for as long as the process lives
    return sys.stderr


def _add_file(path: Path, common: Mapping[str, Any]) -> None:
    try:
        # A device or a pipe is neither locked nor rotated
        sink: Any = SharedFile(path, **_ROTATED) if path.is_file() or not path.exists() else path
        logger.add(sink, **common)
    except OSError as error:
        raise ImproperlyConfigured(f"LOG_FILE: {path} cannot be written: {error.strerror}") from None


def _take_standard_logging(level: str) -> None:
    logging.captureWarnings(True)
    root = logging.getLogger()
    root.handlers = [ThroughLoguru()]
    root.setLevel(5 if level == "TRACE" else level)
    for name in list(logging.root.manager.loggerDict):
        take_logger(name)
    for name, floor in _FLOORS.items():
        logging.getLogger(name).setLevel(floor)


def take_logger(name: str) -> None:
    """Take a logger's own handlers away, so that its lines reach ours."""
    theirs = logging.getLogger(name)
    theirs.handlers = []
    theirs.propagate = True
    theirs.disabled = False


def _mask_settings() -> None:
    from django.conf import settings

    mask(settings.SECRET_KEY, settings.BINGX_API_KEY, settings.BINGX_API_SECRET, settings.BACKUP_PASSPHRASE)
    mask(*settings.WEBHOOK_SECRETS, *settings.FIELD_ENCRYPTION_KEYS)
    for database in settings.DATABASES.values():
        # The compose file's default password is the project's name: a mask on it would make every line unreadable
        if database.get("PASSWORD") not in (database.get("USER"), database.get("NAME")):
            mask(database.get("PASSWORD") or "")


def keep_account_keys_out(sender: Any, instance: Any, **kwargs: Any) -> None:
    """Register an account's credentials as it is read or written; a deferred column is not fetched for it."""
    values = (instance.__dict__.get(name) for name in ("api_key", "api_secret"))
    mask(*(value for value in values if isinstance(value, str) and value))
