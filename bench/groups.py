"""What a process and all that it started cost, as the kernel counts it: memory held, processor time spent."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
# Places in /proc/*/stat behind the name, which stands in brackets and may hold anything
SESSION, USER, SYSTEM = 3, 11, 12


def memory_of(leader: int) -> tuple[float, float]:
    """Return in MiB the memory of a session: its share of every page (PSS), and all that it maps (RSS)."""
    rollups = [_rollup(folder / "smaps_rollup") for folder in _members(leader)]
    return (sum(each.get("Pss", 0) for each in rollups) / 1024, sum(each.get("Rss", 0) for each in rollups) / 1024)


def seconds_of(leader: int) -> float:
    """Return the processor time that the living processes of a session spent so far."""
    ticks = 0
    for folder in _members(leader):
        words = _words(folder)
        ticks += int(words[USER]) + int(words[SYSTEM]) if words else 0
    return ticks / TICKS_A_SECOND


class Spent:
    """The processor time of some processes, by name, since it was made; those without a session of their own too."""

    def __init__(self, leaders: Mapping[str, int]) -> None:
        self.leaders = leaders
        self.before = self._now()

    def milliseconds(self, among: int) -> dict[str, float]:
        """Return what each spent since then, divided among so many, in milliseconds."""
        now = self._now()
        return {name: round((now[name] - self.before[name]) * 1000 / max(among, 1), 2) for name in now}

    def _now(self) -> dict[str, float]:
        return {name: seconds_of(pid) for name, pid in self.leaders.items()}


def _members(leader: int) -> Iterator[Path]:
    """Yield the folders of a process and of all in the session that it leads."""
    yield Path(f"/proc/{leader}")
    for folder in Path("/proc").glob("[0-9]*"):
        words = _words(folder)
        if words and int(words[SESSION]) == leader and folder.name != str(leader):
            yield folder


def _words(folder: Path) -> list[str]:
    return _text(folder / "stat").rpartition(")")[2].split()


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _rollup(path: Path) -> dict[str, int]:
    lines = (line.split() for line in _text(path).splitlines())
    return {words[0].rstrip(":"): int(words[1]) for words in lines if len(words) == 3 and words[2] == "kB"}
