"""Memory of a job's process: who goes first when it runs out, and whether it did."""

from pathlib import Path

_VMSTAT = Path("/proc/vmstat")


def offer_first(*, score: int = 500) -> None:
    """Let the system end this process before the database and the workers, should memory run out; 1,000 goes first."""
    try:
        Path("/proc/self/oom_score_adj").write_text(str(score))
    except OSError:
        return  # not Linux, or not allowed


def count_kills() -> int | None:
    """How many processes this machine has ended for want of memory since it started; None if it does not tell."""
    try:
        for line in _VMSTAT.read_text().splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    except OSError:
        return None
    return None


def read_peak(pid: int) -> int | None:
    """The most memory that a process has had so far, in bytes; None if the system does not tell."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        return None
    return None
