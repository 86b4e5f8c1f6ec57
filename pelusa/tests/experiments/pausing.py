"""A worker that can be held up between the commit of an order and the wire, as if its process were stopped there.

`python -m pelusa.tests.experiments.pausing` takes the words of `celery`. The file that PAUSES names says how often a
sending is held up and for how many seconds at least and at most; without the file none is.
"""

import os
import random
import time
from pathlib import Path
from typing import Any

from celery.__main__ import main
from celery.signals import worker_init


@worker_init.connect
def hold_up_sendings(**kwargs: Any) -> None:
    """Put a pause before each sending of an order that is committed as submitted."""
    from operations import execution

    send = execution._send

    def send_late(*arguments: Any, **options: Any) -> Any:
        time.sleep(pause())
        return send(*arguments, **options)

    execution._send = send_late


def pause() -> float:
    try:
        chance, least, most = map(float, Path(os.environ["PAUSES"]).read_text().split())
    except FileNotFoundError:
        return 0.0
    return random.uniform(least, most) if random.random() < chance else 0.0


if __name__ == "__main__":
    main()
