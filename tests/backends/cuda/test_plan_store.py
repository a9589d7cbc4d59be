"""Plans on disk: what is found again, and what counts as missing."""

from __future__ import annotations

import os

import pytest

from runtime.backends.cuda.machine import plan_store
from runtime.backends.cuda.machine.plan_store import Plan, PlanStore, store_of

PLAN = Plan(b"some\nbytes\0", "eng5", measured=True)


@pytest.fixture
def store(tmp_path) -> PlanStore:
    return PlanStore(tmp_path / "below" / "plans")


def test_a_plan_is_found_again_under_its_key_only(store):
    assert store.load("a key") is None
    store.save("a key", PLAN)
    store.save("another", Plan(b"", "no engine"))
    assert store.load("a key") == PLAN
    assert store.load("another") == Plan(b"", "no engine", measured=False)
    assert store.load("A key") is None
    assert len(list(store.folder.iterdir())) == 2


def test_a_plan_takes_the_place_of_another(store):
    store.save("a key", Plan(b"old", "eng1"))
    store.save("a key", PLAN)
    assert store.load("a key") == PLAN


def test_a_file_that_is_cut_short_anywhere_counts_as_missing(store):
    store.save("a key", PLAN)
    path = store.path("a key")
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert store.load("a key") is None
    path.write_bytes(whole)
    assert store.load("a key") == PLAN


def test_a_file_with_a_changed_byte_counts_as_missing(store):
    store.save("a key", PLAN)
    path = store.path("a key")
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        assert store.load("a key") is None


def test_a_file_of_another_key_counts_as_missing(store):
    store.save("another", PLAN)
    store.path("another").rename(store.path("a key"))
    assert store.load("a key") is None


@pytest.mark.parametrize("body", [b"[1]\nplan", b"{}\nplan", b"no json\nplan", b""])
def test_a_foreign_file_with_a_digest_that_fits_counts_as_missing(store, body):
    digest = plan_store._digest(body).encode()
    store.path("a key").write_bytes(b"\n".join((plan_store.FORMAT, digest, body)))
    assert store.load("a key") is None


def test_a_folder_in_the_place_of_a_plan_changes_nothing(store):
    store.path("a key").mkdir()
    store.save("a key", PLAN)
    assert store.load("a key") is None


def test_without_a_folder_nothing_is_kept(tmp_path):
    (tmp_path / "file").write_text("")
    for store in (PlanStore(None), PlanStore(tmp_path / "file" / "plans")):
        assert store.folder is None
        store.save("a key", PLAN)
        assert store.load("a key") is None
        assert store.path("a key") is None


def test_what_a_killed_process_left_is_cleared(store):
    left = store.folder / ".x.plan.abc.tmp"
    left.write_bytes(b"half")
    store.save("a key", PLAN)
    PlanStore(store.folder)
    assert [path.name for path in store.folder.iterdir()] == [store.path("a key").name]


def test_a_store_belongs_to_its_library_and_to_the_code(tmp_path, monkeypatch):
    monkeypatch.setenv("NETSPEC_CACHE_DIR", str(tmp_path / "cache"))
    source = tmp_path / "source.py"
    source.write_text("one")
    folders = [store_of({"a": 1, "b": 2}, [source]).folder]
    assert folders[0] == store_of({"b": 2, "a": 1}, [source]).folder
    assert folders[0].parent == tmp_path / "cache" / "netspec"
    folders.append(store_of({"a": 2, "b": 2}, [source]).folder)
    source.write_text("two")
    folders.append(store_of({"a": 1, "b": 2}, [source]).folder)
    assert len(set(folders)) == 3


def test_without_a_home_there_is_no_store(monkeypatch):
    def no_home() -> None:
        raise RuntimeError("Could not determine home directory.")

    for name in ("NETSPEC_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(plan_store.Path, "home", no_home)
    assert store_of({}, []).folder is None


@pytest.mark.skipif(os.name != "posix", reason="no such permissions")
def test_others_may_read_what_the_mask_lets_them(store):
    store.save("a key", PLAN)
    mask = os.umask(0)
    os.umask(mask)
    assert store.path("a key").stat().st_mode & 0o777 == 0o666 & ~mask
