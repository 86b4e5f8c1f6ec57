"""What becomes of a supervisor's processes when it is killed; standard library only, run by its path.

    deadman.py                      end the process groups named on standard input when that input ends
    deadman.py PARENT PROGRAM ...   become PROGRAM, which gets SIGTERM from the kernel when PARENT ends (Linux)

`pelusa.supervisor` starts both: the first once, the second in front of each of its processes. Both must be up in
milliseconds, so nothing of the project is imported here.
"""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable

PR_SET_PDEATHSIG = 1
GRACE_SECONDS = 4.0


def main(arguments: list[str]) -> None:
    if arguments:
        become(int(arguments[0]), arguments[1:])
    else:
        outlive()


def become(parent: int, argv: list[str]) -> None:
    """Replace this process by the program `argv`, bound to the life of `parent`.

    Done after exec and not in Popen's `preexec_fn`: no Python runs in the fork of a process with threads.
    """
    die_with(parent)
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        sys.exit(f"{argv[0]}: {error.strerror}")


def die_with(parent: int) -> None:
    """Have the kernel send us SIGTERM when `parent` ends; elsewhere than on Linux do nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the parent ended first")


def outlive() -> None:
    """Read `+123` when group 123 starts and `-123` when it is gone; at the end of input leave no group behind."""
    for deaf_to in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(deaf_to, signal.SIG_IGN)
    end(read_groups(sys.stdin))


def read_groups(lines: Iterable[str]) -> list[int]:
    """Return the groups alive when `lines` ended, oldest first."""
    groups: dict[int, None] = {}
    for line in lines:
        if line.startswith("+"):
            groups[int(line[1:])] = None
        else:
            groups.pop(int(line[1:]), None)
    return list(groups)


def end(groups: list[int]) -> None:
    """Ask every leader to stop, newest first, and kill what is left of each group after `GRACE_SECONDS`."""
    for group in reversed(groups):
        send(os.kill, group, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    while any(send(os.kill, group, 0) for group in groups) and time.monotonic() < deadline:
        time.sleep(0.05)
    for group in groups:
        send(os.killpg, group, signal.SIGKILL)


def send(kill: Callable[[int, int], None], target: int, number: int) -> bool:
    """Return whether there was anybody to take the signal."""
    try:
        kill(target, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    main(sys.argv[1:])
