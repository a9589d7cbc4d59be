"""Broken files of every kind are refused by us or read, and nothing else happens.

`python -m tools.fuzz` does the same with any number of files, in processes with limits.
"""

from __future__ import annotations

import os
import signal
import time

import pytest

from netspec.errors import SpecError
from tools.fuzz import __main__ as fuzz
from tools.fuzz.kinds import KINDS, Kind, damaged, run_quietly

for package in ("lmdb", "h5py", "PIL"):
    pytest.importorskip(package)

FILES = 60  # of each kind
LIMITS = (1 << 30, 1)


@pytest.mark.parametrize("name", KINDS)
def test_broken_files_are_read_or_refused_by_us(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    kind = KINDS[name]
    whole = kind.whole()
    kind.prepare()
    assert not any(run_quietly(kind, data) for data in whole)
    files = [damaged(kind, whole, number) for number in range(FILES)]
    refused = sum(run_quietly(kind, data) for data in files)
    assert refused > FILES / 20
    assert files[3] == damaged(kind, whole, 3)  # by its number, whatever was before


def misbehaved(data):
    """Do as the first byte of a file says."""
    if data[0] == 0:
        os.kill(os.getpid(), signal.SIGBUS)
    if data[0] == 1:
        raise KeyError("gone")
    if data[0] == 2:
        time.sleep(30)
    if data[0] == 3:
        raise SpecError("refused")


WILD = Kind(
    "wild",
    whole=lambda: [bytes([first]) for first in range(6)],
    run=misbehaved,
    mutate=lambda data, rng, others: data,
)


@pytest.fixture
def wild(monkeypatch):
    monkeypatch.setitem(KINDS, "wild", WILD)


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="no limit of time here")
def test_every_way_to_misbehave_is_counted_and_the_rest_is_read(wild, capsys):
    found = fuzz.run_part("wild", 0, 6, LIMITS)
    counts = {"died": 1, "other": 1, "slow": 1, "refused": 1, "valid": 2}
    assert {name: count for name, count in found.counts.items() if count} == counts
    assert found.bad == 3
    told = {finding["number"]: finding["what"] for finding in found.findings}
    assert told[0] == f"died: {-signal.SIGBUS}"
    assert told[1].startswith("KeyError: 'gone' (tests/fuzz/")
    assert told[2].startswith("TooSlow")
    last = fuzz.table({"wild": found}).splitlines()[-1]
    assert last.startswith("| all | 6 | 2 | 1 | 1 | 1 | 1 | ")


def test_command_prints_what_it_found_and_says_so_by_its_status(wild, capfd):
    arguments = ["--kind", "wild", "--files", "2", "--seconds", "2"]
    assert fuzz.main(arguments) == 1
    printed = capfd.readouterr().out
    assert "wild 0: died: -7" in printed
    assert "wild 1: KeyError: 'gone'" in printed
    assert fuzz.main([*arguments, "--first", "3"]) == 0


def test_command_stops_after_the_time_that_it_is_given(wild, capfd, monkeypatch):
    monkeypatch.setattr(fuzz, "CHUNK", 1)
    arguments = ["--kind", "wild", "--files", "400", "--first", "3", "--minutes", "0"]
    assert fuzz.main(arguments) == 0
    assert "| all | 1 | 0 | 1 | 0 | 0 | 0 | " in capfd.readouterr().out


def test_a_file_is_made_again_by_its_number(wild, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where the process comes back to: it goes elsewhere
    with pytest.raises(KeyError, match="gone"):
        fuzz.main(["--kind", "wild", "--only", "1"])
    assert "damaged has 1 bytes" in capsys.readouterr().out
