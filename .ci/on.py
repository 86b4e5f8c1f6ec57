"""Run a command with the settings of one of three environments and none from outside.

    .ci/on.py embedded COMMAND ...    SQLite and the embedded broker
    .ci/on.py servers COMMAND ...     MySQL or MariaDB, and Redis
    .ci/on.py production COMMAND ...  what a real installation sets, for `check --deploy`

Every name in .env.example is taken out of the environment first and .env is not read, so that a test never sees the
databases or the keys of whoever runs it. Where the servers are: MYSQL_HOST, MYSQL_PORT, MYSQL_USER and MYSQL_PASSWORD,
or the three DATABASE_URLs of MySQL, and CELERY_BROKER_URL of Redis; by default root without a password at
127.0.0.1:3306, and 127.0.0.1:6379.
"""

import os
import re
import secrets
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

ROOT = Path(__file__).resolve().parent.parent
SCHEMAS = {
    "DATABASE_URL": "Desarrollo-Operaciones",
    "ALARMS_DATABASE_URL": "Desarrollo-Alarmas",
    "MARKET_DATABASE_URL": "Desarrollo-Velas",
}


def main(environment: str, *command: str) -> None:
    given = dict(os.environ)
    for name in setting_names():
        os.environ.pop(name, None)
    os.environ["ENV_FILE"] = os.devnull
    os.environ["VAR_DIR"] = str(ROOT / "var" / "suite")
    os.environ.update(ENVIRONMENTS[environment](given))
    if environment == "servers":
        print(f"MySQL: {mysql_version(os.environ['DATABASE_URL'])}; Redis: {redis_version()}", flush=True)
    os.execvp(command[0], command)


def embedded(given: dict[str, str]) -> dict[str, str]:
    """Return nothing: it is what Pelusa does by default."""
    return {}


def setting_names() -> list[str]:
    return re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)


def servers(given: dict[str, str]) -> dict[str, str]:
    """Return the addresses of the real servers."""
    user, password = given.get("MYSQL_USER", "root"), given.get("MYSQL_PASSWORD", "")
    credentials = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
    server = f"mysql://{credentials}@{given.get('MYSQL_HOST', '127.0.0.1')}:{given.get('MYSQL_PORT', '3306')}"
    addresses = {name: f"{server}/{schema}" for name, schema in SCHEMAS.items()}
    addresses["CELERY_BROKER_URL"] = "redis://127.0.0.1:6379/0"
    kept = {name: given[name] for name in addresses if given.get(name, "").startswith(("mysql:", "redis:", "rediss:"))}
    return {**addresses, **kept}


def production(given: dict[str, str]) -> dict[str, str]:
    """Return what a real installation sets and has no default."""
    return {
        "SECRET_KEY": secrets.token_urlsafe(50),
        "ALLOWED_HOSTS": "pelusa.example.com",
        "BEHIND_TLS": "on",
        "WEBHOOK_SECRETS": secrets.token_urlsafe(32),
    }


ENVIRONMENTS = {"embedded": embedded, "servers": servers, "production": production}


def mysql_version(url: str) -> str:
    """Return what answers at `url` and which driver asked, or end saying that nothing does."""
    name = "MySQLdb" if find_spec("MySQLdb") else "pymysql"
    driver = import_module(name)
    parts = urlsplit(url)
    try:
        connection = driver.connect(
            host=parts.hostname,
            port=parts.port or 3306,
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            connect_timeout=5,
        )
    except driver.MySQLError as error:
        sys.exit(f"no MySQL for {parts.username} at {parts.hostname}:{parts.port or 3306}: {error}")
    return f"{connection.get_server_info()} at {parts.hostname}:{parts.port or 3306} ({name})"


def redis_version() -> str:
    """Return what answers at CELERY_BROKER_URL, or end saying that nothing does."""
    import redis

    url = os.environ["CELERY_BROKER_URL"]
    try:
        info = redis.Redis.from_url(url, socket_timeout=5).info("server")
    except redis.RedisError as error:
        sys.exit(f"no Redis at {urlsplit(url).hostname}:{urlsplit(url).port}: {error}")
    return f"{info['redis_version']} at {urlsplit(url).hostname}:{urlsplit(url).port or 6379}"


if __name__ == "__main__":
    main(*sys.argv[1:])
