"""docker-compose.yml as it comes is safe: one way in, no rights to spare, nothing that grows without end."""

from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from pelusa.livesystem import ROOT
from pelusa.tests.composing import composed

PASSWORD = {"MYSQL_PASSWORD": "x"}
SERVICES: dict[str, Any] = composed(**PASSWORD)["services"]
OURS = {name for name, service in SERVICES.items() if service["image"] == "pelusa"}
STAYING = set(SERVICES) - {"migrate"}


def each(names: set[str]) -> Any:
    return pytest.mark.parametrize("service", [pytest.param(SERVICES[name], id=name) for name in sorted(names)])


def test_caddy_alone_is_published_on_the_two_ports_that_tradingview_posts_to() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"caddy": ["80:80", "443:443"]}


def test_caddy_reaches_web_and_neither_database_nor_broker() -> None:
    near = {name for name, service in SERVICES.items() if set(service["networks"]) & set(SERVICES["caddy"]["networks"])}
    assert near == {"caddy", "web"}
    networks = composed(**PASSWORD)["networks"]
    assert all(networks[name]["internal"] for each in ("db", "redis") for name in SERVICES[each]["networks"])


def test_the_one_proxy_that_is_believed_is_caddy() -> None:
    [(network, place)] = SERVICES["caddy"]["networks"].items()
    [subnet] = composed(**PASSWORD)["networks"][network]["ipam"]["config"]
    assert ip_address(place["ipv4_address"]) in ip_network(subnet["subnet"])
    assert SERVICES["web"]["environment"]["TRUSTED_PROXIES"] == place["ipv4_address"]


@each(set(SERVICES))
def test_no_service_has_rights_to_spare(service: dict[str, Any]) -> None:
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["mem_limit"]
    assert service["logging"]["options"]["max-size"]
    assert not {"privileged", "cap_add", "network_mode", "pid"} & set(service)
    assert not any("docker.sock" in volume for volume in service.get("volumes", []))


@each(set(SERVICES) - {"db"})
def test_what_runs_cannot_be_rewritten(service: dict[str, Any]) -> None:
    assert service["read_only"] is True


@pytest.mark.parametrize("file", ["Dockerfile", "docker/caddy/Dockerfile"])
def test_our_images_run_as_nobody_in_particular_and_name_what_they_come_from(file: str) -> None:
    lines = (ROOT / file).read_text().splitlines()
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users
    assert users[-1].split(":")[0] not in ("root", "0")
    assert all(":" in line.split()[1] and "latest" not in line for line in lines if line.startswith("FROM "))


@each({"db", "redis"})
def test_the_servers_do_not_run_as_root_and_are_pinned(service: dict[str, Any]) -> None:
    assert service["user"] in ("mysql", "redis")
    assert any(digit in service["image"].partition(":")[2] for digit in "0123456789")


@each(STAYING - {"backup"})
def test_what_stays_is_restarted_and_looked_after(service: dict[str, Any]) -> None:
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"]


def test_a_database_without_a_password_does_not_start() -> None:
    with pytest.raises(LookupError, match="MYSQL_PASSWORD"):
        composed()


def test_the_domain_and_the_authority_alone_decide_what_caddy_does() -> None:
    def told(**dotenv: str) -> tuple[str, str]:
        environment = composed(**PASSWORD, **dotenv)["services"]["caddy"]["environment"]
        return environment["SCHEME"], environment["SENDER"]

    assert told() == ("http", "sender")
    assert told(PELUSA_DOMAIN="pelusa.example.com") == ("https", "sender")
    assert told(PELUSA_DOMAIN="pelusa.example.com", TRADINGVIEW_CA="./ca.pem") == ("https", "proven_sender")


def test_every_file_that_it_names_is_there() -> None:
    assert (ROOT / SERVICES["caddy"]["build"] / "Dockerfile").is_file()
    assert (ROOT / "docker/mysql-init.sql").is_file()


def test_the_keys_are_in_no_volume_that_backups_are_in() -> None:
    volumes = dict(reversed(volume.split(":")[:2]) for volume in SERVICES["backup"]["volumes"])
    assert volumes["/app/backups"] != volumes["/app/var"]
    assert SERVICES["backup"]["environment"]["BACKUP_DIR"] == "/app/backups"
