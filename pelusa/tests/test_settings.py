"""Settings from the environment: a bad value stops the start with its name, and with no secret in the message."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from pelusa.environment import database, exchange_url
from pelusa.livesystem import ROOT

BAD = {
    "DATABASE_URL": "postgres://pelusa:hunter2@db/x",
    "ALARMS_DATABASE_URL": "mysql://pelusa:hunter2@db:port/x",
    "MARKET_DATABASE_URL": "mysql://pelusa:hunter2@db",
    "DEBUG": "maybe",
    "BACKUP_KEEP": "0",
    "BACKUP_PASSPHRASE": "hunter2",
    "PELUSA_DOMAIN": "https://pelusa.example.com",
    "PORT": "70000",
    "PELUSA_TRADING": "real",
    "BINGX_URL": "open-api.bingx.com",
    "BINGX_PAPER_URL": "ftp://127.0.0.1",
    "TRUSTED_PROXIES": "10.0.0.1/8",
    "IP_ALLOW": "/webhook=nonsense",
    "IP_OBSERVE_ONLY": "perhaps",
    "API_REQUESTS_PER_MINUTE": "many",
    "LOG_LEVEL": "loud",
    "LOG_JSON": "perhaps",
}


def start(var_dir: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Start a command with nothing but these settings."""
    clean = {"PATH": os.environ["PATH"], "VAR_DIR": str(var_dir), "ENV_FILE": os.devnull}
    return subprocess.run(
        [sys.executable, "manage.py", "check"], cwd=ROOT, env=clean | env, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", BAD)
def test_a_bad_value_stops_the_start_with_its_name(tmp_path: Path, name: str) -> None:
    ended = start(tmp_path, **{name: BAD[name]})
    assert ended.returncode != 0
    assert name in ended.stderr
    assert "hunter2" not in ended.stderr


def test_nothing_configured_starts_and_makes_its_secrets_once(tmp_path: Path) -> None:
    assert start(tmp_path).returncode == 0
    made = {path.name: path.read_text() for path in tmp_path.glob("*") if path.is_file()}
    assert {"secret_key", "webhook_secret", "field_encryption_key"} <= set(made)
    assert all((tmp_path / name).stat().st_mode & 0o077 == 0 for name in made if not name.endswith(".sqlite3"))
    start(tmp_path)
    assert made["webhook_secret"] == (tmp_path / "webhook_secret").read_text()


def test_an_empty_value_counts_as_not_there(tmp_path: Path) -> None:
    assert start(tmp_path, **dict.fromkeys(BAD, "")).returncode == 0


def test_only_the_store_of_candles_may_hand_files_to_its_server(tmp_path: Path) -> None:
    url = "mysql://pelusa:secret@db/schema"
    sending = database("MARKET_DATABASE_URL", url, test_dir=tmp_path, sends_files=True)
    assert sending["OPTIONS"]["local_infile"] is True
    assert "local_infile" not in database("DATABASE_URL", url, test_dir=tmp_path)["OPTIONS"]


HOSTS = ("open-api.bingx.com", "open-api.bingx.pro")


@pytest.mark.parametrize(
    "url",
    [
        "http://open-api.bingx.com",
        "https://open-api.bingx.com.evil.example",
        "https://evil.example/open-api.bingx.com",
        "https://open-api.bingx.com@evil.example",
        "https://user:hunter2@open-api.bingx.com",
        "https://evil.example\\@open-api.bingx.com",
        "https://open-api.bingx.com\\.evil.example",
        "https://open-api.bingx.com:8443",
        "https://open-api.bingx.com/path",
        "https://open-api.bingx.com?x=1",
        "https://open-api.bingx.com#x",
        "https://open-api.bingx.com.",
        "https://open-api-bingx.com",
        "https://xn--bngx-zpa.com",
        "https://open-api.b\u0456ngx.com",
        "http://169.254.169.254",
        "https://169.254.169.254",
        "https://10.0.0.1",
        "https://192.168.1.1",
        "http://[fe80::1]",
        "http://[::ffff:169.254.169.254]",
        "http://2130706433",
        "http://0x7f.1",
        "http://0.0.0.0",
        "http://127.0.0.1@evil.example",
        "http://127.0.0.1.evil.example",
        "file:///etc/passwd",
        "gopher://127.0.0.1",
        "ftp://open-api.bingx.com",
        "",
    ],
)
def test_no_key_is_ever_sent_elsewhere(url: str) -> None:
    """S19."""
    with pytest.raises(ImproperlyConfigured, match="BINGX_URL") as raised:
        exchange_url("BINGX_URL", url, HOSTS)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("url", ["https://open-api.bingx.com/", "https://open-api.bingx.pro", "http://127.0.0.1:8001"])
def test_the_exchange_and_this_machine_may_be_named(url: str) -> None:
    """S19."""
    assert exchange_url("BINGX_URL", url, HOSTS) == url.rstrip("/")


def test_what_follows_from_the_domain_need_not_be_said_again(tmp_path: Path) -> None:
    names = "ALLOWED_HOSTS CSRF_TRUSTED_ORIGINS BEHIND_TLS PELUSA_URL SECURE_SSL_REDIRECT"
    code = f"from django.conf import settings as s; print(*(getattr(s, name) for name in '{names}'.split()), sep='|')"

    def told(**env: str) -> str:
        clean = {"PATH": os.environ["PATH"], "VAR_DIR": str(tmp_path), "ENV_FILE": os.devnull}
        argv = [sys.executable, "-c", code]
        known = clean | {"DJANGO_SETTINGS_MODULE": "pelusa.settings"} | env
        return subprocess.run(argv, cwd=ROOT, env=known, capture_output=True, text=True, check=True).stdout.strip()

    hosts = "['pelusa.example.com', 'localhost', '127.0.0.1', '[::1]']"
    address = "https://pelusa.example.com"
    assert told(PELUSA_DOMAIN="Pelusa.example.com") == f"{hosts}|['{address}']|True|{address}|True"
    assert told() == "['localhost', '127.0.0.1', '[::1]']|[]|False||False"
    assert told(PELUSA_DOMAIN="pelusa.example.com", BEHIND_TLS="off").split("|")[2] == "False"
