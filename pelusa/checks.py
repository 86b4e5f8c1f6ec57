"""What Django's `check` says of a dangerous or contradictory installation."""

from collections.abc import Sequence
from typing import Any

from cryptography.fernet import Fernet
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register, run_checks
from django.core.management.base import SystemCheckError
from django.db import connections

SHORTEST_SECRET = 16
SHORTEST_SECRET_KEY = 32
# A secret of fewer different characters was typed by hand
LEAST_LETTERS = 6
EXAMPLES = ("changeme", "yoursecret", "examplesecret", "password")
ISOLATION = "READ-COMMITTED"
# MariaDB and MySQL name the isolation differently
ASK_SERVER = "SHOW SESSION VARIABLES WHERE Variable_name IN ('tx_isolation', 'transaction_isolation', 'sql_mode')"
STRICT = {"STRICT_TRANS_TABLES", "STRICT_ALL_TABLES", "TRADITIONAL"}


def refuse_danger() -> None:
    """Raise `SystemCheckError` for dangerous settings where no management command checks them: at a server's start."""
    errors = [str(found) for found in run_checks(tags=[Tags.security]) if found.is_serious()]
    if errors:
        raise SystemCheckError("\n".join(errors))


@register(Tags.security)
def debug_stays_on_paper(app_configs: Any, **options: Any) -> list[CheckMessage]:
    """Refuse DEBUG where money or the Internet is: its pages show settings and local values to anybody."""
    if settings.DEBUG and (settings.PELUSA_TRADING != "paper" or settings.BEHIND_TLS):
        message = "DEBUG is on, and PELUSA_TRADING is not paper or BEHIND_TLS is on."
        return [Error(message, hint="Switch DEBUG off.", id="pelusa.E001")]
    return []


@register(Tags.security)
def secret_key_is_one(app_configs: Any, **options: Any) -> list[CheckMessage]:
    """Refuse a SECRET_KEY that others know or can guess: whoever has it is anybody in the back office."""
    key = settings.SECRET_KEY
    if key.startswith("django-insecure") or len(key) < SHORTEST_SECRET_KEY or len(set(key)) < LEAST_LETTERS:
        hint = "Leave it empty, and one is made in var/; or take one from `openssl rand -hex 32`."
        return [Error("SECRET_KEY can be guessed.", hint=hint, id="pelusa.E007")]
    return []


@register()
def time_is_utc(app_configs: Any, **options: Any) -> list[CheckMessage]:
    """Refuse any other zone: alarms, candles and the exchange speak UTC."""
    if settings.TIME_ZONE != "UTC" or not settings.USE_TZ:
        return [Error("TIME_ZONE must be UTC and USE_TZ on.", id="pelusa.E002")]
    return []


@register()
def field_keys_are_keys(app_configs: Any, **options: Any) -> list[CheckMessage]:
    """Refuse a FIELD_ENCRYPTION_KEYS that could not open what it seals."""
    if not settings.FIELD_ENCRYPTION_KEYS or not all(map(_is_fernet_key, settings.FIELD_ENCRYPTION_KEYS)):
        hint = "Each must be 32 bytes in url-safe base64, as cryptography's Fernet.generate_key() makes them."
        return [Error("FIELD_ENCRYPTION_KEYS holds something that is no key.", hint=hint, id="pelusa.E003")]
    return []


def _is_fernet_key(text: str) -> bool:
    try:
        Fernet(text)
    except ValueError:
        return False
    return True


@register(Tags.security)
def proxies_are_not_everybody(app_configs: Any, **options: Any) -> list[CheckMessage]:
    """Refuse a TRUSTED_PROXIES that believes the whole Internet: senders would choose their own address."""
    if any(network.prefixlen == 0 for network in settings.TRUSTED_PROXIES):
        return [Error("TRUSTED_PROXIES names everybody.", hint="Name your proxies only.", id="pelusa.E004")]
    return []


@register(Tags.security)
def real_money_is_guarded(app_configs: Any, **options: Any) -> list[CheckMessage]:
    """Warn of what is tolerable on paper and not with real money."""
    if settings.PELUSA_TRADING != "live":
        return []
    found: list[CheckMessage] = []
    if not settings.BEHIND_TLS:
        hint = "Set BEHIND_TLS=on behind a proxy that ends TLS: tokens and passwords travel in the open."
        found.append(Warning("Real money without TLS.", hint=hint, id="pelusa.W001"))
    if "*" in settings.ALLOWED_HOSTS:
        found.append(Warning("ALLOWED_HOSTS takes any name.", hint="Name your hosts.", id="pelusa.W002"))
    if any(database["ENGINE"].endswith("sqlite3") for database in settings.DATABASES.values()):
        hint = "Use MySQL or MariaDB for more than a trial."
        found.append(Warning("Real money on SQLite.", hint=hint, id="pelusa.W003"))
    return found


@register(Tags.security)
def webhook_secrets_are_secret(app_configs: Any, **options: Any) -> list[CheckMessage]:
    """Refuse a webhook secret that can be guessed: it places orders."""
    if not settings.WEBHOOK_SECRETS or any(map(_can_be_guessed, settings.WEBHOOK_SECRETS)):
        message = f"WEBHOOK_SECRETS holds one that is shorter than {SHORTEST_SECRET} characters or can be guessed."
        return [Error(message, hint="Take one from `openssl rand -hex 32`.", id="pelusa.E008")]
    return []


def _can_be_guessed(secret: str) -> bool:
    bare = "".join(letter for letter in secret.lower() if letter.isalnum())
    is_example = any(word in bare for word in EXAMPLES)
    return len(secret) < SHORTEST_SECRET or len(set(secret)) < LEAST_LETTERS or is_example


@register(Tags.database)
def mysql_is_strict(app_configs: Any, databases: Sequence[str] | None = None, **options: Any) -> list[CheckMessage]:
    """Refuse MySQL that is not strict (it stores other numbers than were sent) or isolates otherwise (it livelocks)."""
    mysql = [alias for alias in databases or () if connections[alias].vendor == "mysql"]
    return [message for alias in mysql for message in _of_server(alias)]


def _of_server(alias: str) -> list[CheckMessage]:
    with connections[alias].cursor() as cursor:
        cursor.execute(ASK_SERVER)
        values = {name.lower(): value.upper() for name, value in cursor.fetchall()}
    found: list[CheckMessage] = []
    isolation = values.get("transaction_isolation") or values.get("tx_isolation", "")
    if isolation != ISOLATION:
        found.append(Error(f"Database {alias} isolates by {isolation or '?'}, not {ISOLATION}.", id="pelusa.E005"))
    if not STRICT & set(values.get("sql_mode", "").split(",")):
        found.append(Error(f"Database {alias} is not in strict mode.", id="pelusa.E006"))
    return found
