"""One log file, several processes: no line is lost, halved or written twice while any of them rotates it."""

import fcntl
import gzip
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from pelusa.livesystem import wait_until
from pelusa.logfile import SharedFile

ROOT = Path(__file__).resolve().parent.parent.parent
PROCESSES, LINES = 4, 3000

WRITER = """
import sys
from pathlib import Path
from loguru import logger
from pelusa.logfile import SharedFile
logger.remove()
logger.add(SharedFile(Path(sys.argv[1]), most_bytes=20_000, kept=10_000), format="{message}", serialize=True)
for number in range(int(sys.argv[3])):
    logger.info("{} {} {}", sys.argv[2], number, "x" * (number % 97))
logger.remove()
"""


def written(path: Path) -> list[str]:
    """Return every line of the file and of what was rotated, packed or not."""
    packed = [gzip.decompress(each.read_bytes()).decode() for each in path.parent.glob("*.gz")]
    plain = [each.read_text() for each in path.parent.iterdir() if each.suffix == ".log"]
    return [line for text in (*packed, *plain) for line in text.splitlines()]


def test_several_processes_lose_no_line_while_they_rotate(tmp_path: Path) -> None:
    path = tmp_path / "pelusa.log"
    argv = [sys.executable, "-c", WRITER, str(path)]
    writers = [subprocess.Popen([*argv, str(each), str(LINES)], cwd=ROOT) for each in range(PROCESSES)]
    assert [writer.wait(timeout=120) for writer in writers] == [0] * PROCESSES
    told = Counter(tuple(json.loads(line)["record"]["message"].split()[:2]) for line in written(path))
    assert told == Counter((str(each), str(number)) for each in range(PROCESSES) for number in range(LINES))
    assert len(list(tmp_path.glob("*.gz"))) > 10


def test_a_process_that_was_killed_holds_nobody_up_and_its_file_is_packed_later(tmp_path: Path) -> None:
    path = tmp_path / "pelusa.log"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path), "0", str(10**9)], cwd=ROOT) as victim:
        wait_until(lambda: bool(list(tmp_path.glob("*.gz"))))
        victim.kill()
    file = SharedFile(path, most_bytes=100, kept=10_000)
    for number in range(10):
        file.write(f"{number} {'x' * 50}\n")
        file.settle()
    file.stop()
    assert [each for each in tmp_path.iterdir() if each.suffix in (".log", ".draft")] == [path]


def test_the_oldest_are_removed(tmp_path: Path) -> None:
    file = SharedFile(tmp_path / "pelusa.log", most_bytes=10, kept=3)
    for number in range(20):
        file.write(f"line {number:04d}\n")
        file.settle()
    file.stop()
    packed = sorted(tmp_path.glob("*.gz"))
    assert [gzip.decompress(each.read_bytes()) for each in packed] == [b"line %04d\n" % n for n in (16, 17, 18)]
    assert {each.stat().st_mode & 0o777 for each in (*packed, tmp_path / "pelusa.log")} == {0o640}


def test_a_file_that_an_operator_moved_or_removed_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "pelusa.log"
    file = SharedFile(path, most_bytes=1000, kept=3)
    file.write("before\n")
    path.unlink()
    file.write("after\n")
    file.stop()
    assert path.read_text() == "after\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks are a deed of Unix")
def test_a_fork_writes_beside_its_parent(tmp_path: Path) -> None:
    path = tmp_path / "pelusa.log"
    file = SharedFile(path, most_bytes=5000, kept=10_000)
    child = os.fork()
    for number in range(500):
        file.write(f"{'child' if child == 0 else 'parent'} {number}\n")
    file.settle()
    if child == 0:
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    file.stop()
    assert Counter(line.split()[0] for line in written(path)) == {"child": 500, "parent": 500}


HOLDER = """
import fcntl, sys
with open(sys.argv[1], "r+") as lock:
    fcntl.lockf(lock, int(sys.argv[2]))
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("kind", [fcntl.LOCK_SH, fcntl.LOCK_EX], ids=["writing", "renaming"])
def test_a_process_that_is_frozen_silences_nobody_and_the_file_grows_meanwhile(tmp_path: Path, kind: int) -> None:
    path = tmp_path / "pelusa.log"
    file = SharedFile(path, most_bytes=100, kept=10_000)
    argv = [sys.executable, "-c", HOLDER, str(tmp_path / ".pelusa.log.lock"), str(int(kind))]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as frozen:
        assert frozen.stdout
        assert frozen.stdout.readline() == "held\n"
        for number in range(50):
            file.write(f"{number} {'x' * 50}\n")
        assert len(path.read_text().splitlines()) == 50
        frozen.communicate()
    file.write("the next one turns over\n")
    file.stop()
    assert path.read_text() == "the next one turns over\n"
    assert len(written(path)) == 51
