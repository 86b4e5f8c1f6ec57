"""What a worker wants of a line to the broker, while it stands and when it is gone."""

from queue import Empty
from uuid import uuid4

import pytest
from celery import current_app

pytestmark = pytest.mark.servers


def test_a_closed_line_fails_as_a_lost_one_and_what_a_thread_finishes_then_needs_none() -> None:
    connection = current_app.connection_for_write()
    channel, lost = connection.channel(), connection.connection_errors
    connection.release()
    channel.basic_ack("what a thread has finished")
    with pytest.raises(lost), channel.conn_or_acquire():
        pass


def test_a_bell_that_was_taken_is_not_given_back() -> None:
    name = f"test-{uuid4().hex}"
    with current_app.connection_for_write() as connection, connection.clone() as later:
        bells = connection.SimpleQueue(name)
        bells.put("a bell")
        assert bells.get(timeout=5).payload == "a bell"
        bells.channel.close()
        with pytest.raises(Empty):
            later.SimpleQueue(name).get(timeout=0.2)


def test_all_that_is_sent_on_a_line_goes_over_one_client_until_the_line_is_lost() -> None:
    with current_app.connection_for_write() as connection:
        channel = connection.channel()
        with channel.conn_or_acquire() as first, channel.conn_or_acquire() as second:
            assert first is second
        channel._disconnect_pools()
        with channel.conn_or_acquire() as third:
            assert third is not first
            assert third.ping()
