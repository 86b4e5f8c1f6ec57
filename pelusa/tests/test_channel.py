"""What a worker still wants of a line to the broker that was closed must fail as on one that was lost."""

import pytest
from celery import current_app

pytestmark = pytest.mark.servers


def test_a_message_on_a_closed_line_can_be_neither_acknowledged_nor_given_back_as_if_the_line_were_lost() -> None:
    connection = current_app.connection_for_write()
    channel, lost = connection.channel(), connection.connection_errors
    connection.release()
    with pytest.raises(lost):
        channel.basic_ack("what a thread has finished")
    with pytest.raises(lost):
        channel.qos.restore_unacked()


def test_all_that_is_sent_on_a_line_goes_over_one_client_until_the_line_is_lost() -> None:
    with current_app.connection_for_write() as connection:
        channel = connection.channel()
        with channel.conn_or_acquire() as first, channel.conn_or_acquire() as second:
            assert first is second
        channel._disconnect_pools()
        with channel.conn_or_acquire() as third:
            assert third is not first
            assert third.ping()
