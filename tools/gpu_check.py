"""All that needs a GPU, in one command of at most 540 s: `python tools/gpu_check.py`.

    python tools/gpu_check.py [--out FOLDER] [--cases CHECK.PY] [--parts 0 1 2 ...]
    python tools/gpu_check.py --dry-run     on a machine without a GPU

Everything runs as processes with limits of their own. Results are appended to
`parts.jsonl` as they come and a table of them is printed last; a part that fails stops
no other one, unless the smoke test does; what there was no time for is named. Parts 2
to 6 run side by side, and beside them PyTorch compiles for part 7, which then has the
machine to itself. The exit status is 0 if all passed that could run here.

The folder gets at most 8 files: parts.jsonl, summary.txt, log.txt, failures.txt,
versions.txt, cudnn.json, speed.jsonl, kernels.txt.

Wheels that a machine without a network lacks lie in `.whl` (`tools/gpu_wheels.sh`), and
recorded cases of Caffe, if there are any, in `.gpu/conformance`. With --dry-run all
that can runs on the device in main memory that the tests have.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tools.gpu_parts import document  # noqa: E402
from tools.gpu_parts.running import Part, Result, Runner, missing  # noqa: E402

SECONDS = 540.0
WORKS = (
    "ok training in float32"  # what the smoke test says when it makes sense to go on
)
SHOWN = 12  # failures in the summary
DRY_TESTS = ("tests/layers/test_eltwise.py", "tests/layers/test_relu.py")
ALL_TESTS = ("tests/layers", "tests/runtime")
PROFILED = ("resnet50/32/tf32", "googlenet/32/tf32")


class Check:
    """The parts, for the options of one run."""

    def __init__(self, options: argparse.Namespace, out: Path, work: Path) -> None:
        self.options, self.out, self.work = options, out, work
        self.dry: bool = options.dry_run
        self.backend = "host" if self.dry else "cupy"
        self.no_gpu = "needs a GPU" if self.dry else None
        self.wheels = sorted(map(str, (ROOT / ".whl").glob("*.whl")))

    def environment(self) -> dict[str, str]:
        """Return what commands are run with: nothing cached by earlier runs."""
        found = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(self.work / "site")]),
            "PYTHONUNBUFFERED": "1",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # some warn, and warnings are errors
            "CUPY_CACHE_DIR": str(self.work / "cupy"),
            "TORCHINDUCTOR_CACHE_DIR": str(self.work / "inductor"),
            "TRITON_CACHE_DIR": str(self.work / "triton"),
            "OPENBLAS_NUM_THREADS": "1",
            "NETSPEC_NUM_THREADS": "2",
        }
        if self.dry:
            found["OMP_NUM_THREADS"] = "1"
        else:
            found["NETSPEC_CACHE_DIR"] = str(self.work / "netspec")
        return found

    def stages(self) -> list[list[Part]]:
        """Return the parts in order, those that run side by side together."""
        return [
            [self.install()],
            [self.versions(), self.smoke()],
            [
                self.kernels(),
                self.layers(),
                self.cases(),
                self.training(),
                self.sanitizer(),
            ],
            [self.speed()],
            [self.timeline()],
            [self.counters()],
        ]

    def python(self, *words: str | Path) -> list[str]:
        """Return a command of this interpreter."""
        return [sys.executable, *map(str, words)]

    def pytest(self, name: str, workers: int, *words: str | Path) -> list[str]:
        """Return a command that runs tests, with their results in a file of `name`."""
        command = self.python("-m", "pytest", *words, "-q", "--tb=short")
        command += ["--backend", self.backend, "-p", "no:cacheprovider"]
        command += ["-p", "tools.gpu_parts.recorder", "--only-device"]
        command += ["--record", str(self.record(name))]
        if workers:
            command += ["-p", "xdist.plugin", "-p", "xdist.looponfail"]
            command += ["-n", str(workers), "--dist", "worksteal"]
            if not self.dry:
                command += ["-p", "pytest_timeout", "--timeout", "60"]
        return command

    def record(self, name: str) -> Path:
        """Return the file of the results of tests."""
        return self.work / f"{name}.tests.jsonl"

    # ------------------------------------------------------------ the parts

    def install(self) -> Part:
        """Part 0: what the machine lacks."""
        command = self.python(
            *("-m", "pip", "install", "-q", "--no-index", "--no-deps"),
            *("--no-compile", "--no-cache-dir", "--target", self.work / "site"),
            *self.wheels,
        )
        needs = None if self.wheels else "no wheels in .whl"
        needs = "a dry run installs nothing" if self.dry else needs
        return Part("0 install", [command], 40, last_line, needs)

    def versions(self) -> Part:
        """Part 0, too: device, driver, libraries."""
        command = self.python("-m", "tools.gpu_parts.versions")
        command += ["--description", str(self.out / "cudnn.json")]

        def read(result: Result) -> str:
            (self.out / "versions.txt").write_text(result.text())
            return "; ".join(result.text().splitlines()[:5])

        return Part("0 versions", [command], 30, read, self.no_gpu)

    def smoke(self) -> Part:
        """Part 1: without it the rest would say nothing."""
        command = self.python("-m", "tools.gpu_parts.smoke", "--backend", self.backend)
        return Part("1 smoke", [command], 60, own_lines, essential=WORKS)

    def kernels(self) -> Part:
        """Part 2: own kernels against the portable ones on the CPU."""
        tests = "tests/backends/cuda" + ("/test_relu.py" if self.dry else "")
        command = self.pytest("kernels", 1 if self.dry else 8, tests)
        return Part("2 own kernels", [command], 120, self.tests_of("kernels"))

    def layers(self) -> Part:
        """Part 3: layers and runtime."""
        tests = DRY_TESTS if self.dry else ALL_TESTS
        command = self.pytest("layers", 1 if self.dry else 4, *tests)
        return Part("3 layer tests", [command], 120, self.tests_of("layers"))

    def cases(self) -> Part:
        """Part 4: what Caffe computed."""
        check, parts = self.options.cases, 1 if self.dry else 3
        command = self.python("-m", "tools.gpu_parts.cases", check)
        command += ["--backend", self.backend, "--parts", str(parts)]
        command += ["--every", "40" if self.dry else "1"]
        needs = None if check.exists() else f"no recorded cases: {check}"
        commands = [[*command, "--part", str(part)] for part in range(parts)]
        return Part("4 reference cases", commands, 120, own_lines, needs)

    def training(self) -> Part:
        """Part 5: LeNet to its accuracy, going on bit for bit, graphs."""
        command = self.python("-m", "tools.gpu_parts.training")
        command += ["--backend", self.backend]
        if self.dry:
            command += ["--no-lenet", "--precisions", "float32", "--steps", "4"]
        return Part("5 training", [command], 120, own_lines)

    def sanitizer(self) -> Part:
        """Part 6: reads and writes out of bounds, and races."""
        program = "compute-sanitizer"
        commands = []
        for tool, (asked, words) in SANITIZERS.items():
            tests = self.pytest(tool, 0, "tests/backends/cuda", "--no-pool", *words)
            command = [program, "--tool", tool, "--error-exitcode", "9", *asked]
            commands.append([*command, *tests])

        def read(result: Result) -> str:
            said = []
            for tool, log in zip(SANITIZERS, result.logs, strict=True):
                text = log.read_text(errors="replace")
                for line in re.findall(r"========= (?:Invalid|Error|Race).*", text):
                    result.failures.append(f"{tool}: {line}")
                ended = re.findall(r"(?:ERROR|RACECHECK) SUMMARY: .*", text)
                counted = counts(tests_in(self.record(tool)))
                said.append(f"{tool}: {(ended or ['no summary'])[-1]}; {counted}")
            return "; ".join(said)

        needs = self.no_gpu or missing(program)
        return Part("6 sanitizer", commands, 120, read, needs)

    def speed(self) -> Part:
        """Part 7: training beside PyTorch."""
        gate, out = self.work / "gate", self.out / "speed.jsonl"
        command = ["nice", "-n", "5"]  # beside the tests; later it is alone
        command += self.python(ROOT / "benchmarks/gpu.py", *self.options.speed)
        command += ["--out", str(out), "--log", str(self.work / "speed.txt")]
        command += ["--wait-for", str(gate)]
        needs = self.no_gpu
        if self.dry and has_torch():
            needs = None
            command = self.python(ROOT / "benchmarks/gpu.py", "lenet/8/float32")
            command += ["--out", str(out), "--wait-for", str(gate), "--seconds", "0.2"]
            command += ["--backend", "numpy", "--device", "cpu"]
            command += ["--who", "ours", "eager"]

        def read(result: Result) -> str:
            rows = document.speed(out)
            count = len(re.findall(r"^\| \w+/\d", rows, re.MULTILINE))
            return f"{count} configurations\n\n{rows}"

        return Part("7 speed", [command], 220, read, needs, gate=gate, keep=45)

    def timeline(self) -> Part:
        """Part 8: which kernels take the time."""
        command = self.python("-m", "tools.gpu_parts.timeline", *PROFILED)
        command += ["--out", str(self.out / "kernels.txt")]
        return Part("8 timeline", [command], 40, last_line, self.no_gpu)

    def counters(self) -> Part:
        """Part 8, too: how close own kernels come to what memory allows."""
        command = ["ncu", "--clock-control", "none", "--csv", "--page", "raw"]
        command += ["--metrics", ",".join(METRICS), "--launch-count", "40"]
        command += ["--kernel-name", f"regex:^({'|'.join(own_names())})$"]
        command += self.python("-m", "tools.gpu_parts.timeline", PROFILED[1])
        command += ["--only-train"]

        def read(result: Result) -> str:
            lines = [line for line in result.text().splitlines() if line[:1] == '"']
            with (self.out / "kernels.txt").open("a", encoding="utf-8") as file:
                file.write("\n".join(["", "ncu:", *lines, ""]))
            return f"{max(0, len(lines) - 2)} launches"

        needs = self.no_gpu or missing("ncu")
        return Part("8 counters", [command], 40, read, needs)

    def tests_of(self, name: str):  # type: ignore[no-untyped-def]
        """Return what reads the results of tests from their file."""

        def read(result: Result) -> str:
            found = tests_in(self.record(name))
            result.failures += distinct(found)
            return counts(found)

        return read


METRICS = (
    "gpu__time_duration.sum",
    "dram__throughput.avg.pct_of_peak_sustained_elapsed",
    "sm__throughput.avg.pct_of_peak_sustained_elapsed",
)
REDUCING = "columns or norm or softmax or loss or update or reduc or sum"
# Options of each tool, and what is tested with it: under both, tests take many times as
# long, so that one in so many is taken; races are looked for in reductions.
SLOW = "not large and not winners"
SANITIZERS: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    "memcheck": (("--report-api-errors", "no"), ("-k", SLOW, "--every", "16")),
    "racecheck": ((), ("-k", f"({REDUCING}) and {SLOW}", "--every", "8")),
}


def own_names() -> list[str]:
    """Return the names of our kernels."""
    folder = ROOT / "runtime/backends/cuda/kernels"
    pattern = r'extern "C" __global__ void\s+(?:__launch_bounds__\([^)]*\)\s*)?(\w+)\('
    names: list[str] = []
    for path in sorted(folder.glob("*.cu")):
        names += re.findall(pattern, path.read_text())
    return list(dict.fromkeys(names))


def tests_in(path: Path) -> list[dict[str, str]]:
    """Return the results that tests wrote into a file."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def counts(found: Sequence[dict[str, str]]) -> str:
    """Return how many tests passed, failed and were skipped."""
    number = Counter(record["outcome"] for record in found)
    said = ", ".join(f"{number[one]} {one}" for one in ("passed", "failed", "skipped"))
    reasons = Counter(r["said"][:60] for r in found if r["outcome"] == "skipped")
    if number["passed"] == number["failed"] == 0 and reasons:
        said += f": {reasons.most_common(1)[0][0]}"
    return said


def distinct(found: Sequence[dict[str, str]]) -> list[str]:
    """Return one line for all failures that say the same but for numbers."""
    groups: dict[str, list[str]] = {}
    for record in found:
        if record["outcome"] == "failed":
            said = " ".join(record["said"].split())[:240]
            key = re.sub(r"\d[\d.e+-]*", "#", said)[:120]
            groups.setdefault(key, []).append(f"{record['id']}: {said}")
    return [f"{len(same)} x {same[0]}" for same in groups.values()]


def own_lines(result: Result) -> str:
    """Return the last line of each command; lines that begin with FAIL are failures."""
    result.failures += [x for x in result.text().splitlines() if x.startswith("FAIL")]
    ends = []
    for log in result.logs:
        lines = log.read_text(errors="replace").strip().splitlines()
        ends.append(lines[-1][:200] if lines else "printed nothing")
    return "; ".join(ends)


def last_line(result: Result) -> str:
    """Return the last line."""
    lines = result.text().strip().splitlines()
    return lines[-1][:200] if lines else "printed nothing"


def has_torch() -> bool:
    """Tell whether PyTorch is there."""
    import importlib.util

    return importlib.util.find_spec("torch") is not None


def summary(results: Sequence[Result], seconds: float) -> str:
    """Return the table of all parts, failures first."""
    lines = []
    for result in results:
        for failure in result.failures[:SHOWN]:
            lines.append(f"{result.name}: {failure[:300]}")
        if len(result.failures) > SHOWN:
            lines.append(f"{result.name}: and {len(result.failures) - SHOWN} more")
    lines += ["", f"{time.strftime('%Y-%m-%d')}, {seconds:.0f} s"]
    below = ""
    for result in sorted(results, key=lambda result: result.name):
        said, _, rest = result.said.partition("\n")
        took = f"{result.seconds:4.0f} s"
        lines.append(f"{result.name:<18} {result.status:<8}{took}  {said}")
        below += rest
    return "\n".join([*lines, *([below] if below else [])])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description="All that needs a GPU.")
    parser.add_argument("--dry-run", action="store_true", help="without a GPU")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--out", type=Path, default=Path("out/gpu"))
    parser.add_argument(
        "--cases", type=Path, default=ROOT / ".gpu/conformance/check.py"
    )
    parser.add_argument("--parts", nargs="+", help="numbers of parts; default: all")
    parser.add_argument(
        "--speed", nargs="*", default=[], help="configurations of benchmarks/gpu.py"
    )
    options = parser.parse_args(arguments)
    began = time.monotonic()
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="gpu-check-"))
    check = Check(options, out, work)
    chosen = options.parts
    stages = [
        [part for part in stage if not chosen or part.name.split()[0] in chosen]
        for stage in check.stages()
    ]
    ahead = [part for stage in stages for part in stage if part.gate is not None]
    os.chdir(ROOT)
    toolkit = Path(os.environ.get("CUDA_HOME", "/usr/local/cuda")) / "bin"
    os.environ["PATH"] += f"{os.pathsep}{toolkit}"
    runner = Runner(options.seconds, out, work, check.environment())
    good = runner.run(stages, ahead)
    with (out / "failures.txt").open("w", encoding="utf-8") as file:
        for path in sorted(work.glob("*.tests.jsonl")):
            for record in tests_in(path):
                if record["outcome"] == "failed":
                    file.write(f"==== {record['id']}\n{record['text']}\n\n")
    text = summary(runner.results, time.monotonic() - began)
    (out / "summary.txt").write_text(text + "\n", encoding="utf-8")
    print(f"\n{text}", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
