"""A network of its own that loses packets: a Linux namespace behind a pair of virtual cables.

Nothing outside it is touched, so that tests beside it keep their packets; root only.
"""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests import needs

__all__ = ["Network", "lossy_network"]


@dataclass(frozen=True, slots=True)
class Network:
    """A namespace that is reached at `host`.

    Attributes:
        host: address inside the namespace.
        gateway: our address, as seen from there.
        run: what to run a program inside it by.
    """

    host: str
    gateway: str
    run: tuple[str, ...]
    _iptables: str

    def lose(self, share: float) -> None:
        """Lose this share of the UDP packets of each direction from now on."""
        self._do("-F")
        if share:
            loss = ["-m", "statistic", "--mode", "random", "--probability", f"{share:.3f}"]
            for chain in ("INPUT", "OUTPUT"):
                self._do("-A", chain, "-p", "udp", *loss, "-j", "DROP")

    def dropped(self) -> int:
        """How many packets were lost since the share was set."""
        lines = self._do("-L", "-v", "-x", "-n").splitlines()
        return sum(int(line.split()[0]) for line in lines if " DROP " in line)

    def _do(self, *arguments: str) -> str:
        return _run(*self.run, self._iptables, "-w", *arguments)


@contextmanager
def lossy_network() -> Iterator[Network]:
    """Make a namespace, and remove it."""
    if os.geteuid() != 0:
        needs.missing("root", "namespaces and packet loss need it")
    ip, iptables = needs.program("ip", package="iproute2"), needs.program("iptables")
    name = f"sg-{secrets.token_hex(4)}"
    # Of the range for benchmarks (RFC 2544), which no real network uses.
    subnet = f"198.18.{secrets.randbelow(254) + 1}"
    try:
        _run(ip, "netns", "add", name)
    except subprocess.CalledProcessError as error:
        needs.missing("network namespaces", f"ip netns add: {error.stderr}")
    inside = (ip, "netns", "exec", name)
    try:
        _run(ip, "link", "add", f"{name}o", "type", "veth", "peer", "name", "eth0", "netns", name)
        _run(ip, "addr", "add", f"{subnet}.1/30", "dev", f"{name}o")
        _run(ip, "link", "set", f"{name}o", "up")
        _run(*inside, ip, "addr", "add", f"{subnet}.2/30", "dev", "eth0")
        for device in ("lo", "eth0"):
            _run(*inside, ip, "link", "set", device, "up")
        yield Network(f"{subnet}.2", f"{subnet}.1", inside, iptables)
    finally:
        # Its end of the cable goes with it, and so does ours.
        _run(ip, "netns", "del", name)


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout
