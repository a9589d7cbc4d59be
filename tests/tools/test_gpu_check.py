"""`tools/gpu_check.py`: limits, order, what is left out, what is told at the end."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S
from tools import gpu_check
from tools.gpu_parts.running import Part, Result, Runner, missing

ROOT = Path(__file__).resolve().parents[2]


def python(text):
    return [sys.executable, "-c", text]


def part(name, *texts, limit=60.0, **options):
    return Part(name, [python(t) for t in texts], limit, gpu_check.own_lines, **options)


@pytest.fixture
def runner(tmp_path, monkeypatch):
    def make(seconds=100.0):
        work = tmp_path / "work"
        work.mkdir()
        environment = {"PYTHONPATH": str(ROOT), "WHERE": str(tmp_path)}
        return Runner(seconds, tmp_path, work, environment)

    return make


def told(folder):
    lines = (folder / "parts.jsonl").read_text().splitlines()
    return {record["part"]: record for record in map(json.loads, lines)}


def test_a_part_that_fails_or_takes_too_long_stops_no_other(runner, tmp_path):
    began = time.monotonic()
    stages = [
        [part("a", "print('FAIL one: bad'); print('1 of 2'); raise SystemExit(3)")],
        [part("b", "import time; print('b', flush=True); time.sleep(99)", limit=3)],
        [part("c", "print('well')", "print('done')")],
    ]
    assert runner().run(stages, []) is False
    assert time.monotonic() - began < 40
    found = told(tmp_path)
    assert list(found) == ["a", "b", "c"]
    assert [found[name]["status"] for name in "abc"] == ["failed", "limit", "passed"]
    assert found["a"]["failures"] == ["FAIL one: bad"]
    assert found["c"]["said"] == "well; done"
    log = (tmp_path / "log.txt").read_text()
    assert "==== c-1.log: passed\ndone" in log


def test_what_a_command_started_ends_with_it(runner, tmp_path):
    child = "import os, time; open(os.environ['WHERE'] + '/pid', 'w').write(str("
    child += "os.getpid())); time.sleep(99)"
    text = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    runner().run([[part("a", text, limit=4)]], [])
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        status = Path(f"/proc/{pid}/stat")
        if not status.exists() or status.read_text().rpartition(")")[2][1] == "Z":
            return
        time.sleep(0.05)
    raise AssertionError("it still runs")


def test_parts_of_a_stage_run_side_by_side(runner, tmp_path):
    wait = "import os, time, pathlib; w = pathlib.Path(os.environ['WHERE'])\n"
    meet = "(w / '{0}').touch()\nwhile not (w / '{1}').exists(): time.sleep(0.02)"
    pair = [part(a, wait + meet.format(a, b)) for a, b in (("x", "y"), ("y", "x"))]
    assert runner().run([pair], []) is True


def test_without_what_is_essential_the_rest_is_left_out_and_says_why(runner, tmp_path):
    bad = part("smoke", "print('ok one')", essential="ok two")
    assert runner().run([[bad], [part("b", "")]], []) is False
    assert told(tmp_path)["b"]["status"] == "skipped"
    assert told(tmp_path)["b"]["said"] == "smoke did not say 'ok two'"


def test_what_fails_beside_the_essential_stops_nothing(runner, tmp_path):
    text = "print('ok one'); print('FAIL two'); raise SystemExit(1)"
    stages = [[part("smoke", text, essential="ok one")], [part("b", "")]]
    assert runner().run(stages, []) is False
    assert told(tmp_path)["b"]["status"] == "passed"


def test_what_the_machine_lacks_is_no_failure_but_too_little_time_is(runner, tmp_path):
    assert runner().run([[part("a", "", needs="no GPU")]], []) is True
    assert told(tmp_path)["a"]["said"] == "no GPU"
    (tmp_path / "work").rmdir()
    assert runner(2.0).run([[part("b", "")]], []) is False
    assert told(tmp_path)["b"]["said"] == "no time was left"


def test_a_part_with_a_gate_begins_ahead_and_is_told_its_seconds(runner, tmp_path):
    gate = tmp_path / "gate"
    text = (
        "import os, pathlib, time; w = pathlib.Path(os.environ['WHERE'])\n"
        "(w / 'ahead').touch()\n"
        "while not (w / 'gate').exists(): time.sleep(0.02)\n"
        "print((w / 'gate').read_text())"
    )
    other = (
        "import os, pathlib, time; w = pathlib.Path(os.environ['WHERE'])\n"
        "while not (w / 'ahead').exists(): time.sleep(0.02)\n"
        "assert not (w / 'gate').exists()"
    )
    last = part("last", text, limit=50, gate=gate, keep=5)
    stages = [[part("first", "")], [part("beside", other)], [last]]
    assert runner().run(stages, [last]) is True
    assert 30 < float(told(tmp_path)["last"]["said"]) <= 47


def test_a_command_that_is_not_there_is_told(runner, tmp_path):
    broken = Part("a", [["no-such-program-here"]], 9, gpu_check.own_lines)
    assert runner().run([[broken], [part("b", "")]], []) is False
    assert "no-such-program-here" in told(tmp_path)["a"]["said"]
    assert told(tmp_path)["b"]["status"] == "passed"
    assert missing("no-such-program-here") == (
        "no-such-program-here is not on this machine"
    )
    assert missing("sh") is None


def test_results_of_tests_are_counted_and_their_failures_told_once(tmp_path):
    tests = """
import pytest

@pytest.fixture
def backend():
    return None

@pytest.mark.parametrize("k", [1, 2])
def test_bad(backend, k):
    raise ValueError(f"off by {k}.5e-3")

def test_good(backend):
    pass

def test_skipped(backend):
    pytest.skip("no such thing")

def test_of_something_else():
    raise AssertionError("left out")
"""
    (tmp_path / "test_some.py").write_text(tests)
    record = tmp_path / "some.tests.jsonl"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "test_some.py", "-q", "--only-device"),
            *("-p", "tools.gpu_parts.recorder", "--record", str(record)),
            *("-p", "no:cacheprovider"),
        ],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout
    found = gpu_check.tests_in(record)
    assert gpu_check.counts(found) == "1 passed, 2 failed, 1 skipped"
    assert gpu_check.distinct(found) == [
        "2 x test_some.py::test_bad[1]: ValueError: off by 1.5e-3"
    ]
    assert "raise ValueError" in found[0]["text"]


@pytest.mark.parametrize("tool", gpu_check.SANITIZERS)
def test_a_sanitizer_gets_a_share_of_the_tests_of_many_files(tool):
    _, words = gpu_check.SANITIZERS[tool]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "tests/backends/cuda", "--collect-only"),
            *("-q", "--only-device", "-p", "tools.gpu_parts.recorder"),
            *("-p", "no:cacheprovider", *words),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stdout
    names = [line for line in done.stdout.splitlines() if "::" in line]
    assert 10 < len(names) < 200
    assert len({name.partition("::")[0] for name in names}) > 4


def test_the_summary_names_failures_first_and_parts_last():
    bad = Result("2 b", "failed", 3.2, "1 passed, 20 failed")
    bad.failures = [f"number {k}" for k in range(20)]
    table = "4 configurations\n\n| a |\n| b |"
    text = gpu_check.summary([bad, Result("1 a", "passed", 1, table)], 12.3)
    lines = text.splitlines()
    assert lines[0] == "2 b: number 0"
    assert lines[gpu_check.SHOWN] == "2 b: and 8 more"
    assert lines[-5:] == [
        "1 a                passed     1 s  4 configurations",
        "2 b                failed     3 s  1 passed, 20 failed",
        *("", "| a |", "| b |"),
    ]


def test_all_kernels_are_known_by_name():
    names = gpu_check.own_names()
    sources = (ROOT / "runtime/backends/cuda/kernels").glob("*.cu")
    count = sum(path.read_text().count('extern "C" __global__') for path in sources)
    assert len(names) == len(set(names)) == count > 10


def test_a_dry_run_goes_through_and_names_what_it_leaves_out(tmp_path):
    from tests.backends.cuda.host_device import compiler

    if compiler() is None:
        pytest.skip("no C++ compiler")
    done = subprocess.run(
        [
            *(sys.executable, ROOT / "tools/gpu_check.py", "--dry-run"),
            *("--out", tmp_path, "--cases", tmp_path / "none.py"),
            *("--parts", "0", "1", "4", "6"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = told(tmp_path)
    assert found["1 smoke"]["said"] == "4 of 4 work"
    assert found["6 sanitizer"]["said"] == "needs a GPU"
    assert found["4 reference cases"]["said"].startswith("no recorded cases")
    assert done.stdout.rstrip().endswith((tmp_path / "summary.txt").read_text().strip())
    assert len(list(tmp_path.iterdir())) <= 8


def test_the_page_gets_what_the_files_of_a_run_say(tmp_path):
    from tools.gpu_parts import document

    run = [
        Result("2 own kernels", "failed", 31.2, "7 passed, 1 failed"),
        Result("1 smoke", "passed", 8.0, "8 of 8 work | really"),
    ]
    run[0].failures = ["1 x tests/a.py::test_b: off by 3"]
    lines = [json.dumps(result.record()) + "\n" for result in run]
    (tmp_path / "parts.jsonl").write_text("".join(lines))
    (tmp_path / "versions.txt").write_text("device: H1, 8 GiB, sm_90\n")
    figures = dict(ms=2.0, per_second=16000.0, peak_mib=90.0, host_ms=0.5)
    ours = {"net": "resnet50", "batch": 32, "precision": "tf32", "who": "ours"}
    ours |= figures | {"first_loss": 7.0}
    theirs = ours | {"who": "compile", "ms": 3.0, "per_second": 10667.0}
    header = {"device": "H1", "torch": "2.11", "cuda": "13.0", "date": "2026-11-27"}
    rows = "".join(json.dumps(row) + "\n" for row in (header, ours, theirs))
    (tmp_path / "speed.jsonl").write_text(rows)
    page = tmp_path / "page.md"
    page.write_text(f"above\n{document.BEGIN}\nold\n{document.END}\nbelow\n")
    for _ in range(2):  # written twice, it is the same
        document.write(document.section(tmp_path), page)
    text = page.read_text()
    assert text.startswith(f"above\n{document.BEGIN}\n")
    assert text.endswith(f"{document.END}\nbelow\n")
    assert "old" not in text
    assert "device: H1, 8 GiB, sm_90" in text
    first, second = text.index("| 1 smoke | passed | 8 | 8"), text.index("| 2 own")
    assert first < second
    assert "1 x tests/a.py::test_b: off by 3" in text
    assert "2026-11-27, H1, PyTorch 2.11; images" in text
    assert "| resnet50/32/tf32 | 16000 |  |  | 10667 |  | **1.50** |" in text


def test_a_folder_without_results_is_refused(tmp_path):
    from tools.gpu_parts import document

    with pytest.raises(SystemExit, match=r"no parts\.jsonl"):
        document.section(tmp_path)
    (tmp_path / "page.md").write_text("no markers")
    with pytest.raises(SystemExit, match="are missing"):
        document.write("x", tmp_path / "page.md")


def test_kernels_are_added_up_by_name():
    from tools.gpu_parts import timeline

    events = [
        {"name": name, "dur": 30.0 * k}
        for name, k in (("relu", 1), ("gemm", 4), ("relu", 2))
    ]
    text = timeline.table("a/4/tf32", events, 100e-6, ["relu"])
    head, _, gemm, relu = text.splitlines()
    assert head == (
        "a/4/tf32: a step takes 100 us; kernels 70 us together (1 launches), "
        "own ones 30 us"
    )
    assert gemm.split() == ["40.0", "57.1%", "0", "gemm"]
    assert relu.split() == ["30.0", "42.9%", "1", "*relu"]
