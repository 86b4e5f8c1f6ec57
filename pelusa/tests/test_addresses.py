"""Who is asking: the client's address behind proxies, and the rules per path prefix."""

from ipaddress import ip_address, ip_network

import pytest
from django.core.exceptions import ImproperlyConfigured
from hypothesis import given
from hypothesis import strategies as st

from pelusa.addresses import TRADINGVIEW, client_address, is_hidden, may_ask, parse_address, parse_rules

PROXY, OUTER_PROXY, TV, ATTACKER = "10.0.0.1", "10.0.0.2", "52.89.214.238", "203.0.113.9"
TRUSTED = [ip_network("10.0.0.0/24"), ip_network("fd00::/64")]


@pytest.mark.parametrize(
    ("remote", "forwarded_for", "client"),
    [
        # The peer is not a proxy of ours: its header says nothing
        (ATTACKER, None, ATTACKER),
        (ATTACKER, TV, ATTACKER),
        (ATTACKER, f"{TV}, {PROXY}", ATTACKER),
        ("::ffff:203.0.113.9", TV, ATTACKER),
        ("0:0:0:0:0:ffff:cb00:7109", None, ATTACKER),
        # One proxy: it vouches for the hop that it wrote, whatever the client sent before
        (PROXY, TV, TV),
        (PROXY, f"{TV}, {ATTACKER}", ATTACKER),
        (PROXY, f"{ATTACKER}, {TV}", TV),
        (PROXY, f"{TV},{TV},{ATTACKER}", ATTACKER),
        (PROXY, f" {TV}\t", TV),
        ("::ffff:10.0.0.1", TV, TV),
        ("fd00::1", TV, TV),
        # Two proxies of ours
        (PROXY, f"{ATTACKER}, {OUTER_PROXY}", ATTACKER),
        (PROXY, f"{TV}, {ATTACKER}, {OUTER_PROXY}", ATTACKER),
        # Written differently, meant the same
        (PROXY, "::ffff:52.89.214.238", TV),
        (PROXY, "0:0:0:0:0:ffff:3459:d6ee", TV),
        (PROXY, "2001:DB8::0001", "2001:db8::1"),
        # Malformed: the last hop that somebody vouched for
        (PROXY, "", PROXY),
        (PROXY, "unknown", PROXY),
        (PROXY, "_hidden", PROXY),
        (PROXY, "-", PROXY),
        (PROXY, f"{TV}, unknown", PROXY),
        (PROXY, f"{TV}, unknown, {OUTER_PROXY}", OUTER_PROXY),
        (PROXY, f"{TV}, , {OUTER_PROXY}", OUTER_PROXY),
        (PROXY, "052.089.214.238", PROXY),
        (PROXY, "0x34.0x59.0xd6.0xee", PROXY),
        (PROXY, "3386823406", PROXY),
        (PROXY, "127.1", PROXY),
        (PROXY, "５２.89.214.238", PROXY),
        (PROXY, f"{TV}:443", PROXY),
        (PROXY, "[2001:db8::1]", PROXY),
        (PROXY, "[2001:db8::1]:443", PROXY),
        (PROXY, "fe80::1%eth0", PROXY),
        (PROXY, f'"{TV}"', PROXY),
        (PROXY, f"for={TV}", PROXY),
        (PROXY, f"{TV}\x00", PROXY),
        (PROXY, f"{TV}\n{TV}", PROXY),
        # A chain of nothing but proxies ends at the outermost
        (PROXY, OUTER_PROXY, OUTER_PROXY),
        # No peer address: a Unix socket
        ("", TV, ""),
        ("unix:", TV, ""),
    ],
)
def test_the_client_is_whom_the_trusted_proxies_vouch_for(remote: str, forwarded_for: str | None, client: str) -> None:
    assert client_address(remote, forwarded_for, TRUSTED) == client


def test_without_trusted_proxies_no_header_is_believed() -> None:
    assert client_address("127.0.0.1", TV, []) == "127.0.0.1"


addresses = st.ip_addresses().map(str)
client_sent = st.lists(st.one_of(addresses, st.just(TV), st.just(PROXY), st.text(max_size=40))).map(",".join)
our_proxies = st.lists(st.sampled_from([PROXY, OUTER_PROXY, "fd00::7"]), max_size=3)


@given(sent=st.one_of(st.none(), client_sent), real=addresses, proxies=our_proxies)
def test_what_the_client_sent_never_decides(sent: str | None, real: str, proxies: list[str]) -> None:
    """Each proxy appends the address it got the request from; the last one is the peer."""
    written = [real, *proxies]
    peer, hops = written[-1], written[:-1]
    forwarded_for = ", ".join([*([] if sent is None else [sent]), *hops]) if hops or sent is not None else None
    found = client_address(peer, forwarded_for, TRUSTED)
    is_proxy = any(parse_address(real) in network for network in TRUSTED)
    if not is_proxy:
        assert found == str(parse_address(real))


@given(remote=st.text(), forwarded_for=st.text())
def test_any_text_is_answered_with_an_address_or_nothing(remote: str, forwarded_for: str) -> None:
    for peer in (remote, PROXY):
        found = client_address(peer, forwarded_for, TRUSTED)
        assert found == "" or str(ip_address(found)) == found


def test_a_chain_of_ten_thousand_is_not_walked() -> None:
    chain = ", ".join([TV, *[OUTER_PROXY] * 10_000])
    assert client_address(PROXY, chain, TRUSTED) == OUTER_PROXY


@pytest.mark.parametrize(
    ("remote", "forwarded_for", "hidden"),
    [
        (PROXY, "unknown", True),
        (PROXY, "", True),
        (PROXY, OUTER_PROXY, True),
        (PROXY, "127.0.0.1", True),
        (PROXY, "::1", True),
        (PROXY, TV, False),
        # It speaks for itself
        (PROXY, None, False),
        # It is no proxy of ours, so it can only speak for itself
        (ATTACKER, "unknown", False),
        ("127.0.0.1", "unknown", False),
        ("", "unknown", False),
    ],
)
def test_a_proxy_that_cannot_say_for_whom_it_speaks_hides_its_client(
    remote: str, forwarded_for: str | None, hidden: bool
) -> None:
    assert is_hidden(remote, forwarded_for, TRUSTED) is hidden


DEFAULT = "/webhook=tradingview,127.0.0.0/8,::1"


def asks(path: str, address: str, allow: str = DEFAULT, deny: str = "") -> bool:
    return may_ask(path, address, parse_rules("IP_ALLOW", allow), parse_rules("IP_DENY", deny))


@pytest.mark.parametrize("address", [*TRADINGVIEW, "127.0.0.1", "127.9.9.9", "::1", "::ffff:52.89.214.238"])
def test_tradingview_and_this_machine_may_post_by_default(address: str) -> None:
    assert asks("/webhook", address)


@pytest.mark.parametrize(
    "address", [ATTACKER, "52.89.214.239", "10.0.0.1", "169.254.169.254", "::2", "2001:db8::1", ""]
)
@pytest.mark.parametrize("path", ["/webhook", "/webhook/", "/webhook/abc", "/webhook//abc"])
def test_nobody_else_may(path: str, address: str) -> None:
    assert not asks(path, address)


@pytest.mark.parametrize("path", ["/", "/webhooks", "/webhook2/x", "/admin/", "/api/v1/alarms/"])
def test_a_prefix_is_whole_segments_and_other_paths_are_open(path: str) -> None:
    assert asks(path, ATTACKER)


def test_an_empty_list_is_nobody() -> None:
    assert not asks("/webhook", TV, "/webhook=")
    assert asks("/admin/", TV, "/webhook=")


def test_no_rule_is_no_restriction() -> None:
    assert asks("/webhook", ATTACKER, "")


@pytest.mark.parametrize("separator", [";", "; ", "\n", "\n\n", " ", "  "])
def test_rules_stand_apart_by_spaces_lines_or_semicolons(separator: str) -> None:
    rules = f"/webhook = tradingview, ::1{separator}/admin=10.0.0.0/8 , 192.168.0.0/16"
    assert asks("/webhook/x", "::1", rules)
    assert asks("/admin/login", "192.168.3.4", rules)
    assert not asks("/admin/login", ATTACKER, rules)
    assert asks("/api", ATTACKER, rules)


def test_the_longest_prefix_decides() -> None:
    rules = "/=10.0.0.0/8 /webhook=tradingview /webhook/inner=::1"
    assert asks("/admin/", "10.1.1.1", rules)
    assert not asks("/admin/", TV, rules)
    assert asks("/webhook/x", TV, rules)
    assert not asks("/webhook/x", "10.1.1.1", rules)
    assert not asks("/webhook/inner", TV, rules)


def test_deny_wins() -> None:
    assert not asks("/webhook", TV, deny=f"/webhook={TV}")
    assert not asks("/webhook", TV, deny="/=52.0.0.0/8")
    assert asks("/webhook", "34.212.75.30", deny="/=52.0.0.0/8")
    assert asks("/webhook", TV, deny="/admin=0.0.0.0/0")
    assert asks("/webhook", TV, deny="/webhook=")


@pytest.mark.parametrize(
    "text",
    [
        "tradingview",
        "webhook=tradingview",
        "/webhook",
        "/webhook:tradingview",
        "/webhook=tradingviews",
        "/webhook=10.0.0.1/8",
        "/webhook=fd00::1/64",
        "/webhook=10.0.0.256",
        "/webhook=10.0.0.0/33",
        "/webhook=052.89.214.238",
        "/webhook=::ffff:52.89.214.238",
        "/webhook=fe80::1%eth0",
        "/webhook=localhost",
        "/webhook=1.2.3.4 5.6.7.8",
        "/webhook=::1;/webhook=127.0.0.1",
        "/webhook=::1 /webhook/=127.0.0.1",
    ],
)
def test_a_bad_rule_stops_the_start_naming_the_setting(text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"^IP_ALLOW: "):
        parse_rules("IP_ALLOW", text)
