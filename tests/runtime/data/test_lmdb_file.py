"""Databases are read as liblmdb reads them, and damage is an error and no more."""

import re
import struct
import sys

import numpy as np
import pytest

from netspec.errors import FileError
from runtime.data.lmdb_file import LmdbFile

lmdb = pytest.importorskip("lmdb")

PAGE = 4096
MUTATIONS = 1600


def write(path, items, batch=1000, **options):
    with lmdb.open(str(path), map_size=1 << 26, **options) as env:
        items = list(items)
        for start in range(0, len(items), batch):
            with env.begin(write=True) as txn:
                for key, value in items[start : start + batch]:
                    txn.put(key, value)
    return path / "data.mdb"


def read_all(path):
    file = LmdbFile(str(path), "database")
    try:
        return [file.item(number) for number in range(file.entries)]
    finally:
        file.close()


def by_liblmdb(path):
    with lmdb.open(str(path), readonly=True, lock=False) as env, env.begin() as txn:
        return list(txn.cursor())


def random_items(seed, count):
    """Keys of 1 to 300 bytes and values of 0 to 20,000, most of them short."""
    rng = np.random.default_rng(seed)
    keys = {rng.bytes(int(rng.integers(1, 300))) for _ in range(count)}
    return [(key, rng.bytes(int(20_000 * rng.random() ** 6))) for key in keys]


@pytest.mark.parametrize("seed", range(4))
def test_items_are_those_of_liblmdb_in_its_order(tmp_path, seed):
    items = random_items(seed, 4000)
    write(tmp_path / "db", items, batch=37 + 500 * seed)
    with lmdb.open(str(tmp_path / "db"), map_size=1 << 26) as env:
        with env.begin(write=True) as txn:
            for key, _ in items[:: seed + 2]:
                txn.delete(key)
        assert env.stat()["depth"] >= 3
    found = read_all(tmp_path / "db")
    assert found == by_liblmdb(tmp_path / "db")
    assert len(found) == len(items) - len(items[:: seed + 2])


def test_any_item_can_be_asked_for_at_any_time(tmp_path):
    items = sorted(random_items(9, 500))
    write(tmp_path / "db", items)
    file = LmdbFile(str(tmp_path / "db"), "database")
    for number in np.random.default_rng(1).integers(0, len(items), 300):
        assert file.item(int(number)) == items[number]
    with pytest.raises(IndexError, match="item 500 of 500"):
        file.item(500)


def test_every_fourth_batch_reads_no_leaves_of_others_from_the_second_epoch_on(
    tmp_path, monkeypatch
):
    items = [(b"%05d" % i, bytes([i % 251]) * 900) for i in range(4000)]
    write(tmp_path / "db", items)
    file, pages = LmdbFile(str(tmp_path / "db"), "database"), []
    page = LmdbFile._page
    monkeypatch.setattr(
        LmdbFile, "_page", lambda self, *of: pages.append(of) or page(self, *of)
    )
    counts = []
    for _ in range(3):
        for batch in range(1, 4000 // 50, 4):
            for number in range(batch * 50, batch * 50 + 50):
                assert file.item(number) == items[number]
        counts.append(len(pages))
        pages.clear()
    assert counts[0] > 900  # leaves, of four items each
    assert counts[2] < 400
    file.close()


def test_items_before_damage_are_read_again_and_again(tmp_path):
    items = [(b"%03d" % i, bytes(900)) for i in range(90)]
    data = write(tmp_path / "db", items)
    with data.open("r+b") as handle:
        handle.seek(data.stat().st_size // 2)
        handle.write(bytes(data.stat().st_size // 2))
    file = LmdbFile(str(tmp_path / "db"), "database")
    for number in (5, 0, 7, 3):
        assert file.item(number) == items[number]
    with pytest.raises(FileError, match="is broken at item 80"):
        file.item(80)
    assert file.item(2) == items[2]


def test_file_of_a_database_may_be_named_itself(tmp_path):
    file = write(tmp_path / "db", [(b"k", b"v" * 9000)])
    assert read_all(file) == [(b"k", b"v" * 9000)]


def test_reading_needs_no_package(tmp_path, monkeypatch):
    write(tmp_path / "db", [(b"k", b"v")])
    monkeypatch.setitem(sys.modules, "lmdb", None)
    assert read_all(tmp_path / "db") == [(b"k", b"v")]


def mutated(data, rng):
    """Return a copy with one to four places changed, most of them in headers."""
    out = bytearray(data)
    pages = len(data) // PAGE
    for _ in range(int(rng.integers(1, 5))):
        page = int(rng.integers(0, 4 if rng.random() < 0.3 else pages))
        if rng.random() < 0.1:  # one page in the place of another
            other = int(rng.integers(0, pages)) * PAGE
            out[page * PAGE : page * PAGE + PAGE] = data[other : other + PAGE]
            continue
        size = int(rng.choice([1, 2, 4, 8]))
        start = page * PAGE + 2 * int(rng.integers(0, 100))
        if rng.random() < 0.4:  # the nodes lie at the end of a page
            start = page * PAGE + PAGE - 8 - 2 * int(rng.integers(0, 100))
        number = struct.pack("<Q", int(rng.integers(0, 1 + pages)))
        small = bytes([int(rng.integers(0, 8))]) * 8
        value = (b"\0" * 8, b"\xff" * 8, number, small, rng.bytes(8))
        out[start : start + size] = value[int(rng.integers(0, 5))][:size]
    if rng.random() < 0.05:
        del out[int(rng.integers(1, len(out))) :]
    return bytes(out)


KINDS_OF_DAMAGE = (
    r"^the database is no LMDB database$",
    r"is no LMDB database: pages of \d+ bytes",
    r"is of version \d+ of LMDB's format, only 1 can be read; dump it with mdb_dump",
    r"has several values for a key \(DUPSORT\), which data layers do not read",
    r"was cut short: it has \d+ bytes of \d+; copy or make it again",
    r"is broken: \d+ items, \d+ levels, root \d+; copy or make it again",
    r"is broken at item \d+: it has \d+ of \d+; copy or make it again",
    r"is broken at item \d+: there is no page \d+",
    r"page \d+ is no leaf",
    r"page \d+ is no branch",
    r"page \d+ is no overflow page",
    r"page \d+: -?\d+ nodes from \d+ to \d+",
    r"page \d+: a node is not on its page",
    r"its node is longer than its page",
    r"a value of \d+ bytes has \d+ pages",
    r"key b'.*' holds a database, not a value",
)


def test_damage_is_an_error_that_says_what_is_wrong(tmp_path):
    rng = np.random.default_rng(5)
    items = [(b"%05d" % i, rng.bytes(300 + 3000 * (i % 5 == 0))) for i in range(70)]
    whole = [write(tmp_path / "db", items).read_bytes()]
    items = [(b"%0400d" % i, bytes(900)) for i in range(90)]  # more branches
    whole.append(write(tmp_path / "tree", items).read_bytes())
    path = tmp_path / "damaged.mdb"
    told = []
    for number in range(MUTATIONS):
        path.write_bytes(mutated(whole[number % 2], rng))
        try:
            read_all_of(path)
        except FileError as error:
            told.append(str(error))
    assert MUTATIONS // 5 < len(told) < MUTATIONS
    unknown = [t for t in told if not any(re.search(k, t) for k in KINDS_OF_DAMAGE)]
    assert not unknown
    unseen = [k for k in KINDS_OF_DAMAGE if not any(re.search(k, t) for t in told)]
    assert not unseen


def read_all_of(path):
    file = LmdbFile(str(path), "the database")
    try:
        for number in range(min(file.entries, 200)):
            file.item(number)
    finally:
        file.close()


def test_leaf_in_two_places_is_damage_rather_than_items_read_twice(tmp_path):
    data = write(tmp_path / "db", [(b"%03d" % i, bytes(900)) for i in range(90)])
    out = bytearray(data.read_bytes())
    (branch,) = (p for p in range(0, len(out), PAGE) if out[p + 10 : p + 12] == b"\1\0")
    places = struct.unpack_from("<HH", out, branch + 16)
    first, second = (branch + place for place in places)
    out[first : first + 6] = out[second : second + 6]
    data.write_bytes(out)
    with pytest.raises(FileError, match=r"page \d+ has two places in the tree; copy"):
        read_all(tmp_path / "db")


def test_file_cut_short_while_it_is_read_is_an_error(tmp_path):
    items = [(b"%05d" % i, bytes(5000)) for i in range(300)]
    data = write(tmp_path / "db", items)
    file = LmdbFile(str(tmp_path / "db"), "the database")
    file.item(0)
    with data.open("r+b") as handle:
        handle.truncate(40 * PAGE)
    with pytest.raises(FileError, match=r"item \d+: page \d+ is behind the end of the"):
        for number in range(300):
            file.item(number)


def test_reader_goes_on_after_an_error(tmp_path):
    items = [(b"%05d" % i, bytes(50)) for i in range(900)]
    data = write(tmp_path / "db", items)
    whole = data.read_bytes()
    file = LmdbFile(str(tmp_path / "db"), "the database")
    with data.open("r+b") as handle:
        handle.truncate(2 * PAGE)
    with pytest.raises(FileError, match="is broken at item 850"):
        file.item(850)
    data.write_bytes(whole)
    assert file.item(850) == items[850]


def test_databases_within_a_database_are_no_values(tmp_path):
    with lmdb.open(str(tmp_path / "db"), max_dbs=1) as env:
        env.open_db(b"train")
    with pytest.raises(FileError, match="key b'train' holds a database, not a value"):
        read_all(tmp_path / "db")


def test_folder_without_a_database_is_none(tmp_path):
    with pytest.raises(FileError, match=r"is no LMDB database: it has no file data\."):
        LmdbFile(str(tmp_path), "the folder")
    with pytest.raises(FileError, match="the name does not exist"):
        LmdbFile(str(tmp_path / "gone"), "the name")
    with pytest.raises(FileError, match=r"the name (cannot be read|does not exist)"):
        LmdbFile("x" * 5000, "the name")
