from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.signing import encoded_query, sign, signed_query, text_to_sign
from exchange.tests import recordings

VECTORS = recordings.read("vectors/signature_vectors.json")
RIGHT = [v for v in VECTORS["published"] if v["published_is_right"]]
WRONG = [v for v in VECTORS["published"] if not v["published_is_right"]]
WIRE = recordings.read("ccxt-static/request_bingx_2026_wire.json")["cases"]


def test_all_vectors_are_here():
    assert (len(RIGHT), len(WRONG), len(VECTORS["computed_here"]), len(WIRE)) == (3, 3, 7, 156)


@pytest.mark.parametrize("vector", RIGHT, ids=lambda v: v["name"])
def test_a_right_published_signature_verifies(vector):
    assert sign(vector["secret"], vector["string_to_sign"]) == vector["published"]


@pytest.mark.parametrize("vector", WRONG, ids=lambda v: v["name"])
def test_a_wrong_published_signature_is_shown_wrong(vector):
    ours = sign(vector["secret"], vector["string_to_sign"])
    assert ours == vector["computed"]
    assert ours != vector["published"]


@pytest.mark.parametrize("vector", VECTORS["computed_here"], ids=lambda v: v["name"])
def test_text_signature_and_query_are_as_computed(vector):
    pairs = [tuple(pair) for pair in vector["params_in_order"]]
    assert text_to_sign(pairs) == vector["string_to_sign"]
    assert sign(vector["secret"], vector["string_to_sign"]) == vector["signature"]
    assert signed_query(pairs, vector["secret"]) == vector["query_sent"]


def test_our_encoding_is_that_of_every_recorded_ccxt_request():
    for case in WIRE:
        split = [pair.split("=", 1) for pair in case["query"].split("&")]
        assert encoded_query([(name, unquote(value)) for name, value in split]) == case["query"]


@given(st.dictionaries(st.from_regex(r"[a-zA-Z]{1,12}", fullmatch=True), st.text(max_size=60), max_size=8))
def test_a_server_that_decodes_the_values_in_the_order_received_verifies(parameters):
    query = signed_query(sorted(parameters.items()), "s3cret")
    *sent, (name, signature) = [pair.split("=", 1) for pair in query.split("&") if pair]
    assert name == "signature"
    assert sign("s3cret", text_to_sign((key, unquote(value)) for key, value in sent)) == signature
    assert not set(query) & set(' +[]{}"#?/\n')
