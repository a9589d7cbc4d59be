"""What several ranks bring: `python benchmarks/scaling.py [NET:BATCH ...]`.

    python benchmarks/scaling.py lenet:64 googlenet:8 --seconds 40
    python benchmarks/scaling.py googlenet:8 --link 1gbit      as root: two namespaces
    python benchmarks/scaling.py --write docs/distributed.md   what is computed

Measured on this machine, jobs in turns: one process with two threads, ranks with one
thread each, and four ranks that share two processors; the time of a step by all ranks
without sums of gradients, with sums after backward, and with sums beside it; the sums
alone. Over a link: the same by two ranks in two network namespaces, whose cable has the
speed that is given.

    hidden = 1 - (beside - none) / sums alone
    waited = last wait / sums alone
    most = backward / sums alone: what backward has the time to hide

Computed: what N ranks reach over links whose figures are stated, see `efficiency`.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ranks import Job
from tables import markdown, write_into
from two_hosts import two_hosts, why_not

DEFAULT = ("lenet:64", "googlenet:8")
BUCKET_BYTES = 4 << 20
TURNS = 3


@dataclass(frozen=True)
class Link:
    """A link between ranks: bytes a second in each direction, seconds of a message."""

    name: str
    bandwidth: float
    latency_s: float


# Bandwidth and latency as makers and measurements state them; TCP over Ethernet.
ETHERNET_10 = Link("10 Gb/s Ethernet", 10e9 / 8, 30e-6)
ETHERNET_100 = Link("100 Gb/s Ethernet", 100e9 / 8, 20e-6)
NVLINK = Link("NVLink 4, 450 GB/s", 450e9, 3e-6)


@dataclass(frozen=True)
class Training:
    """A step of one rank: its seconds, the part that is backward, bytes of gradients.

    measured: where the seconds come from.
    """

    net: str
    batch: int
    step_s: float
    backward: float
    gradient_bytes: float
    measured: str

    def reduce_s(self, ranks: int, link: Link, nbytes: float | None = None) -> float:
        """Return the time of a ring all-reduce of all gradients, or of some bytes.

        2 (N - 1) / N bytes / bandwidth + 2 (N - 1) latency, in which every rank sends
        and receives the N-th part of the bytes 2 (N - 1) times.
        """
        nbytes = self.gradient_bytes if nbytes is None else nbytes
        hops = 2 * (ranks - 1)
        return hops / ranks * nbytes / link.bandwidth + hops * link.latency_s

    def efficiency(self, ranks: int, link: Link, hidden: float) -> float:
        """Return the throughput of a rank among N over that of one alone.

        step / (step + max(all - hidden backward, last)): the all-reduce of all
        gradients, less what runs beside backward, and at least that of the last bucket,
        whose gradients are there when backward ends. hidden: which part of the time of
        backward the network can work in.
        """
        if ranks == 1:
            return 1.0
        last = min(BUCKET_BYTES, self.gradient_bytes)
        whole = self.reduce_s(ranks, link)
        left = whole - hidden * self.backward * self.step_s
        return self.step_s / (self.step_s + max(left, self.reduce_s(ranks, link, last)))


def medians(bursts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return the median of each number over several bursts."""
    found = list(bursts)
    return {key: statistics.median([one[key] for one in found]) for key in found[0]}


def in_turns(
    jobs: Mapping[str, tuple[Job, Sequence[str]]], seconds: float
) -> dict[tuple[str, str], dict[str, float]]:
    """Return what each job does in each of its ways, in turns of short bursts."""
    orders = [(name, way) for name, (_, ways) in jobs.items() for way in ways]
    bursts: dict[tuple[str, str], list[dict[str, float]]] = {}
    each = seconds / TURNS / len(orders)
    for _ in range(TURNS):
        for name, order in orders:
            for way, one in jobs[name][0].burst(order, each).items():
                bursts.setdefault((name, way), []).append(one)
    return {order: medians(found) for order, found in bursts.items()}


def ratio(
    found: Mapping[tuple[str, str], Mapping[str, float]],
    one: tuple[str, str, int],
    other: tuple[str, str, int],
) -> float:
    """Return the throughput of a job over that of another: name, way and ranks."""
    (job, way, ranks), (base, base_way, base_ranks) = one, other
    mine, theirs = found[job, way]["step"], found[base, base_way]["step"]
    return ranks / mine / (base_ranks / theirs)


def overlap(found: Mapping[tuple[str, str], Mapping[str, float]], job: str) -> str:
    """Return what of the sums is hidden, and what is waited for, in words."""
    alone = found[job, "sums"]["step"]
    extra = found[job, "beside"]["step"] - found[job, "none"]["step"]
    after = found[job, "after"]["step"] - found[job, "none"]["step"]
    wait = found[job, "beside"]["wait"]
    return (
        f"sums alone {1e3 * alone:.1f} ms; after backward {1e3 * after:+.1f} ms a "
        f"step, beside it {1e3 * extra:+.1f} ms "
        f"({100 * extra / found[job, 'none']['step']:.1f} % of a step); "
        f"hidden {100 * (1 - extra / alone):.0f} %, last wait {1e3 * wait:.1f} ms "
        f"({100 * wait / alone:.0f} % of the sums)"
    )


def measure(net: str, batch: int, counts: Sequence[int], seconds: float) -> None:
    """Measure a net by one process with two threads, and by ranks; print it."""
    ways = ("mixed", "sums")
    jobs: dict[str, tuple[Job, Sequence[str]]] = {}
    with ExitStack() as ended:

        def start(name: str, ways: Sequence[str], **options: Any) -> None:
            job = Job(net, batch, **options)
            ended.callback(job.end)
            jobs[name] = (job, ways)

        start("2 threads", ("none",), ranks=1, threads=2)
        start("1 thread", ("none",), ranks=1)
        for count in counts:
            if count > 1:
                start(f"{count} ranks", ways, ranks=count)
        found = in_turns(jobs, seconds)
        gradients = jobs["2 threads"][0].facts["bytes"]
    print(f"{net}, batch {batch}, {gradients / 1e6:.1f} MB of gradients")
    for (name, way), one in found.items():
        print(
            f"  {name:<10} {way:<8} step {1e3 * one['step']:8.1f} ms, wait "
            f"{1e3 * one['wait']:6.1f} ms, processor {1e3 * one['cpu']:8.1f} ms"
        )
    for count in counts:
        if count == 1:
            continue
        job = f"{count} ranks"
        base = ("2 threads", "none", 1)
        for way in ("none", "beside"):
            faster = ratio(found, (job, way, count), base)
            print(f"  {job}, {way}: {faster:.2f} times one process with two threads")
        print(f"  {job}: {overlap(found, job)}")


def measure_link(net: str, batch: int, rate: str, seconds: float) -> None:
    """Measure two ranks whose cable has a given rate; print it."""
    if why := why_not():
        print(f"{net} over {rate}: skipped, {why}")
        return
    with two_hosts(rate) as hosts:
        given = {"launcher": hosts.command, "environment": hosts.environment}
        job = Job(net, batch, ranks=2, **given)  # type: ignore[arg-type]
        try:
            ways = ("mixed", "sums", "forward")
            found = in_turns({"link": (job, ways)}, seconds)
        finally:
            job.end()
    steps = ", ".join(
        f"{way} {1e3 * one['step']:.0f} ms" for (_, way), one in found.items()
    )
    print(f"{net}, batch {batch}, 2 ranks over {rate}: {steps}")
    print(f"  {overlap(found, 'link')}")
    backward = found["link", "none"]["step"] - found["link", "forward"]["step"]
    most = min(1.0, backward / found["link", "sums"]["step"])
    print(f"  backward and update {1e3 * backward:.0f} ms: hidden at most {most:.0%}")


COUNTS_CPU = (2, 4, 16, 64, 256)
COUNTS_GPU = (2, 8, 16, 64)
HEADS = ("net, batch a rank", "step", "gradients", "link")
MEGABYTE = 1e6
BACKWARD = 2 / 3  # of a step
# Steps of docs/performance.md, with two threads. That of VGG-16 is three times eight
# times its time for one image there, and measured nowhere.
CPU_NETS = (
    Training("GoogLeNet", 16, 566e-3, BACKWARD, 53.5 * MEGABYTE, "measured"),
    Training("ResNet-50", 8, 907e-3, BACKWARD, 102.2 * MEGABYTE, "measured"),
    Training("VGG-16", 8, 1920e-3, BACKWARD, 553.4 * MEGABYTE, "estimated"),
)
# Steps of docs/gpu.md, on one H200 in tf32. That of VGG-16 is ResNet-50's by the ratio
# of their multiply-adds, 15.5 to 3.9 thousand million an image, and measured nowhere.
GPU_NETS = (
    Training("GoogLeNet", 32, 5.9e-3, BACKWARD, 53.5 * MEGABYTE, "measured"),
    Training("ResNet-50", 32, 10.4e-3, BACKWARD, 102.2 * MEGABYTE, "measured"),
    Training("VGG-16", 32, 41e-3, BACKWARD, 553.4 * MEGABYTE, "estimated"),
)


def computed(
    trainings: Sequence[Training],
    links: Sequence[Link],
    counts: Sequence[int],
    hidden: float,
) -> str:
    """Return a table of the efficiency that is expected of so many ranks."""
    rows = []
    for one in trainings:
        for link in links:
            shares = [one.efficiency(count, link, hidden) for count in counts]
            row = [
                f"{one.net}, {one.batch}",
                f"{1e3 * one.step_s:.1f} ms, {one.measured}",
                f"{one.gradient_bytes / MEGABYTE:.0f} MB",
                link.name,
            ]
            rows.append([*row, *(f"{100 * share:.0f} %" for share in shares)])
    return markdown([*HEADS, *(f"{count} ranks" for count in counts)], rows)


def named(what: str) -> tuple[str, int]:
    """Return a net and its batch, as in "lenet:64"."""
    net, _, batch = what.partition(":")
    return net, int(batch or 16)


def main() -> None:
    """Measure what is asked for, and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("nets", nargs="*", default=DEFAULT, metavar="NET:BATCH")
    add("--ranks", type=int, nargs="+", default=[2], help="how many ranks, each")
    add("--seconds", type=float, default=40, help="to measure a net for")
    add("--link", metavar="RATE", help="measure over a cable, such as 1gbit")
    add("--hidden", type=float, default=0.7, help="part of backward that hides sums")
    add("--write", type=Path, help="write the table that is computed")
    options = parser.parse_args()
    if options.write:
        ethernets = (ETHERNET_10, ETHERNET_100)
        text = "\n\n".join(
            [
                "Machines with two processors, a rank with two threads on each:",
                computed(CPU_NETS, ethernets, COUNTS_CPU, options.hidden),
                "GPUs, one a rank; gradients are added up behind backward:",
                computed(GPU_NETS, (ETHERNET_100, NVLINK), COUNTS_GPU, 0.0),
            ]
        )
        write_into(options.write, text, "scaling")
        return
    for what in options.nets:
        net, batch = named(what)
        if options.link:
            measure_link(net, batch, options.link, options.seconds)
        else:
            measure(net, batch, options.ranks, options.seconds)


if __name__ == "__main__":
    main()
