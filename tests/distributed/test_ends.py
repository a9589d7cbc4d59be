"""How programs that train on several ranks end, whatever one of them does."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from functools import partial

import pytest

from runtime.distributed.ranks import forget_launch, launched
from tests.distributed.command_line import TRAIN, write_files
from tests.distributed.launching import at_once, environment, launch, mpiexec

# One rank ends in the way that is asked for, while the others wait for a sum.
PROGRAM = """
world = runtime.distributed.world()
assert world is runtime.distributed.world()
world.sum(np.ones(3))
how = sys.argv[1]
if how == "everywhere":
    raise ValueError("broken everywhere")
if how == "late":
    print("done", world.rank, flush=True)
    if world.rank == 1:
        import time
        time.sleep(1.5)
    sys.exit(0)
if world.rank == 1:
    if how == "raise":
        raise ValueError("broken here")
    if how == "interrupt":
        raise KeyboardInterrupt
    sys.exit(0 if how == "exit" else "my reason")
request = world.start_sum(np.ones(1000, np.float32))
while not request.done():
    pass
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ranks are found in /proc")
@pytest.mark.parametrize("how", ["sys.exit(0)", "raise ValueError('early')"])
def test_a_rank_that_ends_before_it_joins_ends_all(how):
    early = f"if os.environ['PMI_RANK'] == '1': {how}\n"
    ended = launch(2, early + "runtime.distributed.world()")
    assert ended.status == 9, ended.all
    told = "rank 0: error: another process of this job ended before it joined"
    assert ended.errors.count(told) == 1, ended.all
    assert ("ValueError: early" in ended.errors) == ("early" in how)


@pytest.mark.skipif(sys.platform != "linux", reason="ranks are found in /proc")
@pytest.mark.parametrize("how", ["sys.exit(0)", "import gone", ""])
def test_all_ranks_of_a_machine_that_end_before_they_join_end_all(how, tmp_path):
    """Each rank is started apart, as on a machine of its own."""
    program = tmp_path / "program.py"
    early = f"import os, sys\nif os.environ['PMI_RANK'] == '1':\n    {how or 'pass'}\n"
    program.write_text(
        early + "import runtime\nruntime.distributed.world().barrier()\nprint('met')\n"
    )
    apart = ["-launcher", "fork", "-hosts", "localhost,127.0.0.1", "-n", "2"]
    version = subprocess.run([mpiexec(), "--version"], capture_output=True, text=True)
    if "HYDRA" not in version.stdout:
        pytest.skip("only MPICH's mpiexec starts two of its proxies on one machine")
    ended = subprocess.run(
        [mpiexec(), *apart, sys.executable, str(program)],
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if not how:
        met = ended.returncode, ended.stdout.count("met")
        assert met == (0, 2), ended.stderr
        return
    assert ended.returncode, ended.stderr
    told = "rank 0: error: another process of this job ended before it joined"
    assert ended.stderr.count(told) == 1, ended.stderr


@pytest.fixture(scope="module")
def ends():
    """How three ranks end, by what they do."""
    ways = ("raise", "interrupt", "exit", "reason", "everywhere", "late")
    return at_once({how: partial(launch, 3, PROGRAM, how) for how in ways})


@pytest.mark.parametrize(
    ("how", "status", "first"),
    [
        ("raise", 1, r"rank 1: this rank ends the job:\nTraceback .*\n"),
        ("interrupt", 130, r"rank 1: this rank ends the job:\nTraceback .*\n"),
        ("exit", 1, r"rank 0: error: rank 1 ended ahead of the others, .*\n"),
        ("reason", 1, r"my reason\nrank 0: error: rank 1 ended ahead of the .*\n"),
    ],
)
def test_a_rank_that_ends_amid_the_others_ends_all(ends, how, status, first):
    ended = ends[how]
    assert ended.status == status, ended.all
    assert re.match(first, ended.errors), ended.all


def test_what_all_ranks_raise_is_told_once(ends):
    ended = ends["everywhere"]
    assert ended.status == 1
    assert ended.errors.count("ValueError: broken everywhere\n") == 1, ended.all


def test_ranks_may_end_one_after_the_other(ends):
    ended = ends["late"]
    assert ended.status == 0, ended.all
    assert ended.output.count("done") == 3
    assert ended.errors == ""


def test_a_rank_that_waits_for_long_says_so():
    program = """
import time
from runtime.distributed import mpi
mpi.SLOW_S = 0.2
world = runtime.distributed.world()
for _ in range(2):
    if world.rank == 0:
        time.sleep(1)
    world.barrier()
"""
    ended = launch(3, program)
    assert ended.status == 0, ended.all
    assert re.fullmatch(
        r"rank 1: note: waits for other ranks since 0\.2 s\. They are slow, or .*\n",
        ended.errors,
    ), ended.all


def test_ranks_without_a_communicator_are_told_that_each_trains_alone(tmp_path):
    write_files(tmp_path)
    program = """
    from runtime.distributed.ranks import launched
    sys.path.insert(0, "")
    solver = runtime.get_solver("solver.prototxt", allow_python=["failing"])
    solver.param.max_iter = 2
    solver.param.snapshot_prefix = f"rank{launched().rank}"
    solver.solve(progress=False)
    solver.snapshot()
    assert "mpi4py" not in sys.modules
    """
    ended = launch(2, textwrap.dedent(program), folder=tmp_path)
    assert ended.status == 0, ended.all
    assert ended.errors.count("communicator=runtime.distributed.world()") == 1


def test_warnings_of_a_script_are_shown_once_and_others_with_their_rank():
    program = """
import warnings
world = runtime.distributed.world()
for number in range(2):
    warnings.warn("all say this")
warnings.warn(f"only rank {world.rank} says this", UserWarning)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    warnings.warn("caught")
assert len(caught) == 1
if sys.argv[1] == "fails" and world.rank == 1:
    raise ValueError("broken here")
world.barrier()
"""
    jobs = {how: partial(launch, 3, program, how) for how in ("ends", "fails")}
    ended = at_once(jobs)
    lines = ended["ends"].errors.splitlines()
    assert ended["ends"].status == 0, ended["ends"].all
    assert sum("UserWarning: all say this" in line for line in lines) == 1, lines
    assert not any("caught" in line for line in lines)
    own = [line for line in lines if "UserWarning: only rank" in line]
    for rank, line in enumerate(own):
        start = f"rank {rank}: " if rank else "/"
        assert line.startswith(start), line
        assert line.endswith(f"UserWarning: only rank {rank} says this"), line
    errors = ended["fails"].errors
    assert ended["fails"].status == 1, errors
    assert re.search(r"ValueError: broken here\nrank 1: .*: all say this\n", errors)
    assert "rank 1: this rank ends the job:" in errors


def test_mpich_is_warned_of_its_own_progress_thread():
    program = "runtime.distributed.world()"
    ended = launch(2, program, given={"MPICH_ASYNC_PROGRESS": "1"})
    assert ended.status == 0, ended.all
    assert ended.errors.count("SpecWarning: MPICH_ASYNC_PROGRESS is set") == 1


def world_of(**variables: str) -> str:
    """What `world` says in a process with these variables."""
    pytest.importorskip("mpi4py")
    program = "import runtime; runtime.distributed.world()"
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(variables),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1, ended.stderr
    return ended.stderr


def test_the_mpiexec_of_another_mpi_is_told():
    error = world_of(OMPI_COMM_WORLD_RANK="1", OMPI_COMM_WORLD_SIZE="2")
    assert re.search("MachineError: 2 processes .* by Open MPI's mpiexec", error)


def test_a_missing_mpi4py_is_told(tmp_path):
    (tmp_path / "mpi4py.py").write_text("raise ImportError('no mpi4py here')")
    write_files(tmp_path)
    words = ["-m", "runtime", *TRAIN, "--max-iter", "2"]
    ended = launch(2, words, folder=tmp_path)
    assert ended.status == 1, ended.all
    assert re.fullmatch(
        r"error: 2 processes were started together, but MPI cannot be used: no mpi4py "
        r"here; install mpi4py .*\n",
        ended.errors,
    ), ended.all


def test_one_process_is_none_of_several():
    alone = {"PMI_RANK": "0", "PMI_SIZE": "1"}
    assert launched(alone) is None
    of_three = {"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_SIZE": "3", "HOME": "/"}
    assert launched(of_three).launcher == "Open MPI"
    forget_launch(of_three)
    assert of_three == {"HOME": "/"}
