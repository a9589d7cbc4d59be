"""How much memory can still be had, and refusing what needs more before it is taken.

A machine that promises more memory than it has ends the process that uses what was
promised, without a word. So whatever may be large is looked at first.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from netspec.errors import MachineError, SpecError, shown

ALWAYS_FITS = 64 * 2**20  # bytes; less is not worth looking
UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([A-Za-z]*)")
_FACTORS = {"": 1, "b": 1} | {
    name: base**power
    for power, letter in enumerate("kmgt", 1)
    for name, base in ((f"{letter}b", 1000), (f"{letter}ib", 1024))
}
PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")


def check_room(nbytes: int, what: str) -> None:
    """Refuse what needs more memory than can be had.

    what: the start of the message, up to "needs": `layer 'x' (Input): its top`.

    Raises `MachineError`.
    """
    if nbytes <= ALWAYS_FITS:
        return
    room = room_bytes()
    if room is not None and nbytes > room:
        raise MachineError(
            f"{what} needs {in_words(nbytes)} of memory, {in_words(room)} can be had "
            f"here; use a smaller batch or smaller sizes, or a machine with more memory"
        )


@contextmanager
def enough_memory(what: str) -> Iterator[None]:
    """Turn a `MemoryError` within this block into a `MachineError`.

    what: the start of the message, as of `check_room`.
    """
    try:
        yield
    except MemoryError as error:
        raise MachineError(
            f"{what} needs more memory than can be had here{_told(error)}; use a "
            f"smaller batch or smaller sizes, or a machine with more memory"
        ) from error


def _told(error: MemoryError) -> str:
    return f" ({error})" if str(error) else ""


def bytes_of(limit: str | int | float, what: str = "memory_limit") -> int:
    """Return the bytes that a limit of memory says: "3GB", "800 MiB", or a number.

    kB, MB, GB and TB are powers of 1000, KiB, MiB, GiB and TiB of 1024. what: how
    messages name the limit.

    Raises `SpecError`.
    """
    number: float | None = None
    if isinstance(limit, str):
        found = _SIZE.fullmatch(limit.strip())
        if found is not None and found[2].lower() in _FACTORS:
            number = float(found[1]) * _FACTORS[found[2].lower()]
    elif isinstance(limit, int | float) and not isinstance(limit, bool):
        number = float(limit)
    if number is None or not 1 <= number < 2**63:
        raise SpecError(
            f"{what} is {shown(limit)}; expected a number of bytes above 0, or text "
            f"such as '3GB' or '800MiB'"
        )
    return int(number)


def in_words(nbytes: int) -> str:
    """Return a number of bytes as people say it: 12.5 GiB."""
    size, unit = float(nbytes), 0
    while size >= 1000 and unit < len(UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{nbytes} bytes" if unit == 0 else f"{size:,.1f} {UNITS[unit]}"


def room_bytes() -> int | None:
    """Return how many bytes can be had now, or None where the system does not tell.

    That is the least of what the machine has left with its swap, what the process's
    control group may still take (pages of files that can be dropped count as free), and
    what its limit of address space (`ulimit -v`) leaves.
    """
    found = [_of_machine(), *_of_group(), _of_process()]
    known = [room for room in found if room is not None]
    return max(min(known), 0) if known else None


def _of_machine() -> int | None:
    with suppress(OSError, ValueError, KeyError, IndexError):
        lines = (PROC / "meminfo").read_text().splitlines()
        sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
        return sizes["MemAvailable"] + sizes["SwapFree"]
    with suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _of_group() -> Iterable[int]:
    """Yield the room of the control groups of this process, of both versions."""
    try:
        lines = (PROC / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, names = CGROUPS, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            root = CGROUPS / "memory"
            names = (
                "memory.limit_in_bytes",
                "memory.usage_in_bytes",
                "total_inactive_file",
            )
        else:
            continue
        for folder in {root / path.lstrip("/"), root}:
            with suppress(OSError, ValueError, KeyError):
                limit = int((folder / names[0]).read_text())  # "max" is no limit
                used = int((folder / names[1]).read_text())
                pairs = (folder / "memory.stat").read_text().split()
                stat = dict(zip(pairs[::2], pairs[1::2], strict=True))
                yield limit - used + int(stat[names[2]])


def _of_process() -> int | None:
    with suppress(ImportError, OSError, ValueError, IndexError):
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            pages = int((PROC / "self" / "statm").read_text().split()[0])
            return limit - pages * resource.getpagesize()
    return None
