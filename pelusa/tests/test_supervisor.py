"""The supervisor on real processes: what dies comes back, what is stopped is gone."""

import io
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from pelusa.supervisor import (
    AlreadyRunning,
    NotReady,
    ProcessSpec,
    StopRequested,
    Supervisor,
    port_is_open,
    sole_owner,
)

PROJECT = Path(__file__).resolve().parents[2]
SLEEPER = "import time; time.sleep(60)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
)
# Prints the process id of a child of its own, which like gunicorn's workers lives in the same session.
PARENT = """
import subprocess, sys, time
print(subprocess.Popen([sys.executable, "-c", sys.argv[1]]).pid, flush=True)
time.sleep(60)
"""
CHATTERBOX = """
print("hello")
print("x" * 100_000)
import time
time.sleep(60)
"""


def python(
    name: str, script: str, *arguments: str, is_ready: Callable[[], bool] | None = None, holds_back: bool = False
) -> ProcessSpec:
    return ProcessSpec(name, [sys.executable, "-c", script, *arguments], is_ready=is_ready, holds_back=holds_back)


def wait_for(fact: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def number_after(prefix: str, output: str) -> int:
    return next(
        (int(line.split("| ")[1]) for line in output.splitlines() if line.startswith(prefix) and line[-1].isdigit()), 0
    )


@pytest.fixture
def output() -> io.StringIO:
    return io.StringIO()


def test_a_dead_process_is_started_again(output: io.StringIO) -> None:
    with Supervisor([python("one", SLEEPER)], output=output) as supervisor:
        supervisor.wait_ready()
        first = supervisor.pids()["one"]
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: supervisor.pids().get("one") not in (None, first))
    assert not is_alive(first)


def test_restarts_slow_down_and_the_others_are_left_alone(tmp_path: Path, output: io.StringIO) -> None:
    starts = tmp_path / "starts"
    dies_at_once = f"open({str(starts)!r}, 'a').write('x')"
    with Supervisor([python("mayfly", dies_at_once), python("other", SLEEPER)], output=output) as supervisor:
        wait_for(lambda: "other" in supervisor.pids())
        other = supervisor.pids()["other"]
        wait_for(lambda: starts.exists() and starts.stat().st_size == 2)
        began = time.monotonic()
        wait_for(lambda: starts.stat().st_size == 3)
        assert time.monotonic() - began > 0.9
        assert supervisor.pids()["other"] == other


def test_a_program_that_does_not_exist_is_tried_again_and_named(output: io.StringIO) -> None:
    with (
        Supervisor([ProcessSpec("ghost", ["no-such-program"], is_ready=lambda: False)], output=output) as supervisor,
        pytest.raises(NotReady, match=r"(?s)ghost .*no-such-program: No such file"),
    ):
        supervisor.wait_ready(timeout=2)


def test_processes_are_stopped_last_one_first(tmp_path: Path, output: io.StringIO) -> None:
    diary = tmp_path / "diary"
    polite = (
        "import signal, sys, time\n"
        f"def leave(*_): open({str(diary)!r}, 'a').write(sys.argv[1]); sys.exit()\n"
        "signal.signal(signal.SIGTERM, leave); print('up', flush=True); time.sleep(60)"
    )
    with Supervisor([python(name, polite, name) for name in "abc"], output=output):
        wait_for(lambda: output.getvalue().count("up") == 3)
    assert diary.read_text() == "cba"


def test_a_process_deaf_to_sigterm_is_killed_in_time(output: io.StringIO) -> None:
    with Supervisor([python("deaf1", STUBBORN), python("deaf2", STUBBORN)], output=output) as supervisor:
        wait_for(lambda: output.getvalue().count("| deaf") == 2)
        pids = supervisor.pids().values()
        began = time.monotonic()
    assert time.monotonic() - began < 10
    assert not any(is_alive(pid) for pid in pids)


def test_the_children_of_a_process_end_with_it(output: io.StringIO) -> None:
    with Supervisor([python("family", PARENT, STUBBORN)], output=output):
        wait_for(lambda: "| deaf" in output.getvalue())
        grandchild = number_after("family", output.getvalue())
        assert is_alive(grandchild)
    wait_for(lambda: not is_alive(grandchild), seconds=2)


def test_the_children_of_a_process_that_crashed_do_not_outlive_it(output: io.StringIO) -> None:
    with Supervisor([python("family", PARENT, STUBBORN)], output=output) as supervisor:
        wait_for(lambda: "| deaf" in output.getvalue())
        grandchild = number_after("family", output.getvalue())
        os.kill(supervisor.pids()["family"], signal.SIGKILL)
        wait_for(lambda: not is_alive(grandchild), seconds=3)


def test_output_is_passed_on_behind_the_name(output: io.StringIO) -> None:
    with Supervisor([python("web", CHATTERBOX), python("worker", SLEEPER)], output=output):
        wait_for(lambda: output.getvalue().count("\n") == 2)
    assert output.getvalue() == f"web    | hello\nweb    | {'x' * 100_000}\n"


def test_a_closed_terminal_blocks_nobody(tmp_path: Path) -> None:
    closed = (tmp_path / "closed").open("w")
    closed.close()
    chatterbox = f"print('x' * 1_000_000); open({str(tmp_path / 'done')!r}, 'w'); import time; time.sleep(60)"
    with Supervisor([python("chatterbox", chatterbox)], output=closed):
        wait_for((tmp_path / "done").exists)


def test_those_behind_a_process_that_holds_back_wait_for_it(tmp_path: Path, output: io.StringIO) -> None:
    gate = tmp_path / "gate"
    with Supervisor(
        [python("broker", SLEEPER, is_ready=gate.exists, holds_back=True), python("web", SLEEPER)], output=output
    ) as supervisor:
        wait_for(lambda: "broker" in supervisor.pids())
        time.sleep(0.5)
        assert "web" not in supervisor.pids()
        gate.touch()
        supervisor.wait_ready(timeout=5)
        assert "web" in supervisor.pids()


def test_not_ready_in_time_says_who_and_what_it_printed(output: io.StringIO) -> None:
    complaint = "print('cannot find my shoes', flush=True); import time; time.sleep(60)"
    with (
        Supervisor([python("web", complaint, is_ready=partial(port_is_open, 1))], output=output) as supervisor,
        pytest.raises(NotReady, match=r"(?s)web was not ready.*cannot find my shoes"),
    ):
        supervisor.wait_ready(timeout=1)


def test_a_stop_signal_ends_run_forever_and_unwinds_other_work(output: io.StringIO) -> None:
    with Supervisor([python("one", SLEEPER)], output=output) as supervisor:
        supervisor.wait_ready()
        # Sent from a process of its own, for it must arrive while run_forever waits.
        subprocess.Popen(["/bin/sh", "-c", f"sleep 0.3; kill -TERM {os.getpid()}"])
        supervisor.run_forever()
        assert supervisor.pids()
        with pytest.raises(StopRequested, match="130"):
            signal.raise_signal(signal.SIGINT)
    assert not supervisor.pids()


def test_a_second_signal_kills_at_once(output: io.StringIO) -> None:
    supervisor = Supervisor([python("deaf", STUBBORN)], output=output)
    with supervisor:
        wait_for(lambda: "| deaf" in output.getvalue())
        subprocess.Popen(["/bin/sh", "-c", f"sleep 0.3; kill -TERM {os.getpid()}"])
        began = time.monotonic()
    assert time.monotonic() - began < 3


@pytest.fixture
def program(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A supervisor in a process of its own, over a polite process, one deaf to SIGTERM, and one with a child."""
    script = textwrap.dedent(f"""
        from pathlib import Path
        from pelusa.supervisor import *
        import sys
        def python(name, *argv):
            return ProcessSpec(name, [sys.executable, "-c", *argv])
        specs = [
            python("polite", {SLEEPER!r}),
            python("stubborn", {STUBBORN!r}),
            python("family", {PARENT!r}, {SLEEPER!r}),
        ]
        lock_path = Path({str(tmp_path / "lock")!r})
        with sole_owner(lock_path) as lock, Supervisor(specs, lock=lock, stop_seconds=3) as supervisor:
            supervisor.wait_ready()
            print("pids", *supervisor.pids().values(), flush=True)
            supervisor.run_forever()
        print("ended")
    """)
    with subprocess.Popen([sys.executable, "-c", script], cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def all_pids(program: "subprocess.Popen[str]") -> list[int]:
    """Read the output until all four processes have shown up, and return their ids."""
    assert program.stdout is not None
    pids: list[int] = []
    lines = 0
    for line in program.stdout:
        if line.startswith("pids"):
            pids += [int(word) for word in line.split()[1:]]
        elif line.startswith("family"):
            pids.append(int(line.split("| ")[1]))
        lines += line.startswith(("pids", "family", "stubborn"))
        if lines == 3:
            break
    assert len(pids) == 4
    assert all(is_alive(pid) for pid in pids)
    return pids


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stop_signal_leaves_no_orphan(program: "subprocess.Popen[str]", number: int) -> None:
    pids = all_pids(program)
    began = time.monotonic()
    program.send_signal(number)
    # A signal that comes a moment before run_forever unwinds what its caller was at instead
    assert program.wait(timeout=10) in (0, 128 + number)
    assert time.monotonic() - began < 10
    assert not any(is_alive(pid) for pid in pids)


def test_a_supervisor_killed_with_sigkill_leaves_no_orphan(program: "subprocess.Popen[str]", tmp_path: Path) -> None:
    pids = all_pids(program)
    program.kill()
    program.wait()
    # Whoever starts next waits until the last of them is gone.
    with sole_owner(tmp_path / "lock", patience=10):
        assert not any(is_alive(pid) for pid in pids)


def test_a_dead_man_that_was_killed_is_replaced(program: "subprocess.Popen[str]") -> None:
    pids = all_pids(program)
    first = deadman_of(program.pid)
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: deadman_of(program.pid) not in (0, first))
    program.kill()
    program.wait()
    wait_for(lambda: not any(is_alive(pid) for pid in pids))


def deadman_of(pid: int) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    threads = [task.joinpath("children").read_text().split() for task in Path(f"/proc/{pid}/task").iterdir()]
    candidates = {int(child) for group in [children, *threads] for child in group}
    return next((child for child in candidates if is_alive(child) and is_deadman(child)), 0)


def is_deadman(pid: int) -> bool:
    return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").endswith(b"deadman.py")


def test_a_second_supervisor_of_the_same_files_is_refused(program: "subprocess.Popen[str]", tmp_path: Path) -> None:
    all_pids(program)
    with pytest.raises(AlreadyRunning, match=str(program.pid)), sole_owner(tmp_path / "lock", patience=0.3):
        pass


def test_a_parent_that_is_killed_takes_the_supervisor_with_it() -> None:
    script = textwrap.dedent("""
        from pelusa.supervisor import *
        import sys
        with Supervisor([ProcessSpec("one", [sys.executable, "-c", sys.argv[1]])]) as supervisor:
            supervisor.wait_ready()
            print(supervisor.pids()["one"], flush=True)
            supervisor.run_forever()
    """)
    make = "import subprocess, sys; subprocess.run([sys.executable, '-c', *sys.argv[1:]])"
    argv = [sys.executable, "-c", make, script, SLEEPER]
    environment = {**os.environ, "PELUSA_STOP_WITH_PARENT": "1"}
    with subprocess.Popen(argv, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    wait_for(lambda: not is_alive(pid))
