"""Two hosts on one machine: network namespaces, joined by a cable of a given speed.

It needs Linux, root, and the commands `ip` and `tc`. MPICH starts a rank in each: ranks
find each other by the cable only, as shared memory is switched off.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ranks import mpiexec

NAMES = ("netspec-a", "netspec-b")
PORTS = ("netspec-va", "netspec-vb")
ADDRESSES = ("10.213.7.1", "10.213.7.2")
# MPICH's own shared memory, and that of UCX below it.
OVER_TCP = {"MPIR_CVAR_NOLOCAL": "1", "UCX_TLS": "tcp,self"}
# The launcher of MPICH calls it as it would call ssh: options, host, then a command.
# By the name of their machine ranks know who shares its memory.
SSH = f"""#!/bin/sh
while [ "${{1#-}}" != "$1" ]; do shift; done
host=$1
shift
case $host in
  {ADDRESSES[0]}) name={NAMES[0]} ;;
  *) name={NAMES[1]} ;;
esac
exec ip netns exec $name unshare --uts sh -c "hostname $name; $*"
"""


@dataclass(frozen=True)
class Hosts:
    """What stands ahead of the program of two ranks, and is in their environment."""

    command: Sequence[str]
    environment: dict[str, str] = field(default_factory=dict)


def why_not() -> str:
    """Return why this machine can have no such hosts, or ""."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "needs root, for network namespaces"
    lacking = [name for name in ("ip", "tc") if shutil.which(name) is None]
    return f"needs the command {lacking[0]}" if lacking else ""


@contextmanager
def two_hosts(rate: str) -> Iterator[Hosts]:
    """Make the hosts, and take them away.

    rate: of the cable in each direction, as `tc` takes it, such as "1gbit".
    """
    _remove()
    with tempfile.TemporaryDirectory() as folder:
        ssh = Path(folder, "as-ssh")
        ssh.write_text(SSH)
        ssh.chmod(ssh.stat().st_mode | stat.S_IXUSR)
        try:
            _make(rate)
            launcher = ["-launcher", "ssh", "-launcher-exec", str(ssh)]
            launcher += ["-hosts", ",".join(f"{one}:1" for one in ADDRESSES), "-n", "2"]
            command = ["ip", "netns", "exec", NAMES[0], mpiexec(), *launcher]
            yield Hosts(command, OVER_TCP)
        finally:
            _remove()


def _make(rate: str) -> None:
    for name in NAMES:
        _run("ip", "netns", "add", name)
    _run("ip", "link", "add", PORTS[0], "type", "veth", "peer", "name", PORTS[1])
    for name, port, address in zip(NAMES, PORTS, ADDRESSES, strict=True):
        _run("ip", "link", "set", port, "netns", name)
        inside = ("ip", "netns", "exec", name)
        _run(*inside, "ip", "address", "add", f"{address}/24", "dev", port)
        _run(*inside, "ip", "link", "set", port, "up")
        _run(*inside, "ip", "link", "set", "lo", "up")
        limit = ("tbf", "rate", rate, "burst", "256kb", "latency", "50ms")
        _run(*inside, "tc", "qdisc", "add", "dev", port, "root", *limit)


def _remove() -> None:
    for name in NAMES:
        command = ["ip", "netns", "delete", name]
        subprocess.run(command, capture_output=True, check=False)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
