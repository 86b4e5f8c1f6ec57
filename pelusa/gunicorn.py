"""How gunicorn runs; address, workers and threads come from the command line."""

import logging
from typing import Any

from gunicorn.glogging import Logger

worker_class = "pelusa.patience.Impatient"
# `make run` gives every process ten seconds to stop
graceful_timeout = 8
timeout = 30
keepalive = 5
limit_request_line = 4094
limit_request_fields = 64
limit_request_field_size = 8190
# Each request has its line already, with the webhook's secret masked
accesslog = None
# Who is asking is worked out from TRUSTED_PROXIES alone: no header may set the script name or the path
forwarder_headers = ""
# One socket per user and not per installation: two Pelusas would fight over it
control_socket_disable = True


class ThroughLoguru(Logger):
    """gunicorn's own lines, sent on to Loguru; its handlers would write beside it."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        _configure()
        for log in (self.error_log, self.access_log):
            log.handlers = []
            log.propagate = True
        self.error_log.setLevel(logging.INFO)


def _configure() -> None:
    """Configure Loguru in the master too, which never loads Django's apps."""
    from django.conf import settings

    from pelusa.logs import configure

    configure(settings.LOGGING)


logger_class = ThroughLoguru


def post_worker_init(worker: Any) -> None:
    """Read the back office's address rules before the first request, and show that the process lives.

    Threads that were started earlier would not survive the fork.
    """
    from pelusa.gatekeeping import gatekeeper
    from pelusa.monitoring.heart import own_heart

    gatekeeper.watch()
    own_heart("web").start()
