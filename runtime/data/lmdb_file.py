"""LMDB databases, read from the file with nothing but the standard library.

liblmdb maps the file into memory and trusts what it finds there, so that a damaged
database, or one that is cut short while it is read, ends the process. Here every page
is read by `pread` and checked before it is used: whatever the file holds, the worst
that comes of it is a `FileError`.

The format (lmdb.h and mdb.c of LMDB 0.9): pages of equal size; two of them, 0 and 1,
are metas, of which the one of the later transaction holds; branches lead to leaves,
leaves hold keys and values in order, and long values lie in runs of overflow pages.
"""

from __future__ import annotations

import bisect
import os
import struct
import weakref
from array import array
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from netspec.errors import FileError

MAGIC, VERSION = 0xBEEFC0DE, 1
NO_PAGE = 2**64 - 1  # the root of an empty tree
MAX_LEVELS = 32  # of a tree, liblmdb's CURSOR_STACK
PAGE_SIZES = tuple(2**n for n in range(8, 17))
WINDOW_BYTES = 65536  # read at once where pages follow each other
DUPSORT = 0x04  # flag of a database with several values for a key

BRANCH, LEAF, OVERFLOW, META = 0x01, 0x02, 0x04, 0x08  # flags of pages
KINDS = BRANCH | LEAF | OVERFLOW | META
LEAF2, SUBPAGE = 0x20, 0x40  # pages of several values for a key
BIG, TREE, SEVERAL = 0x01, 0x02, 0x04  # flags of nodes: what their value is

_PAGE = struct.Struct("<QHHHH")  # number, padding, flags, lower, upper
_PAGES = struct.Struct("<QHHI")  # of an overflow page: number, padding, flags, pages
_NODE = struct.Struct("<HHHH")  # low and high half of a size, flags, key's bytes
_NUMBER = struct.Struct("<Q")
_META = struct.Struct("<II16xI44xIHHQQQQQQQ")
META_BYTES = _PAGE.size + _META.size


class LmdbFile:
    """The items of a database, which come in the order of their keys.

    source: the folder of a database, or its file. what: its name in messages.

    `entries` is how many items there are. The state of the database is that of the
    last transaction when it was opened.

    Raises `FileError` for what is no database, or is damaged.
    """

    def __init__(self, source: str, what: str) -> None:
        self._what = what
        self._where = "is broken"
        self._descriptor = _open(source, what)
        self._closing = weakref.finalize(self, os.close, self._descriptor)
        self.entries, self._levels, self._root, self._last = self._read_meta()
        self._window, self._window_start = b"", 0
        self._leaf = b""
        self._places: tuple[int, ...]  # of the nodes of this leaf
        self._first: int  # the number of its first item
        self._end: int  # and of the one after its last
        self._ends = array("Q")  # where there is an index: of every leaf
        self._numbers = array("Q")  # and the numbers of their pages
        self._rewind()

    def item(self, number: int) -> tuple[bytes, bytes]:
        """Return the key and the value of item `number`, counted from 0.

        Going on from the last item is fast. Going back makes an `index` first, out of
        the leaves that were gone through and the rest: of ranks that share a database,
        each reads from its second epoch on the leaves of its own items alone.
        """
        if not 0 <= number < self.entries:
            raise IndexError(f"item {number} of {self.entries}")
        self._where = f"is broken at item {number}"
        if self._ends:
            return self._found(number)
        if number < self._first:
            with suppress(FileError):  # of leaves that nobody asked for
                self._go_on_to_the_end()
            return self.item(number)
        while number >= self._end:
            try:
                self._leaf, self._places = next(self._leaves)
            except StopIteration:
                found = self._end
                self._rewind()
                raise self._broken(f"it has {found} of {self.entries}") from None
            except FileError:
                self._rewind()
                raise
            self._note_leaf()
        return self._node(self._places[number - self._first])

    def index(self) -> None:
        """Note where all leaves are, so that items are found fast in any order.

        That reads all pages of the tree once, but no long values.
        """
        if not self._ends:
            self._rewind()
            self._go_on_to_the_end()

    def _go_on_to_the_end(self) -> None:
        """Make the index; where that cannot be, go before the first leaf."""
        try:
            for leaf in self._leaves:
                self._leaf, self._places = leaf
                self._note_leaf()
            if self._end != self.entries:
                raise self._broken(f"it has {self._end} of {self.entries}")
        except FileError:
            self._rewind()
            raise
        self._ends, self._numbers = self._ends_so_far, self._numbers_so_far

    def _note_leaf(self) -> None:
        """Note where the next leaf is."""
        self._first, self._end = self._end, self._end + len(self._places)
        self._ends_so_far.append(self._end)
        self._numbers_so_far.append(_PAGE.unpack_from(self._leaf)[0])

    def _found(self, number: int) -> tuple[bytes, bytes]:
        """Return an item by the index."""
        if not self._first <= number < self._end:
            place = bisect.bisect_right(self._ends, number)
            self._leaf, self._places = self._page(self._numbers[place], LEAF)
            self._first = self._ends[place - 1] if place else 0
            self._end = self._ends[place]
            if self._end - self._first != len(self._places):
                raise self._broken("it changed since it was opened")
        return self._node(self._places[number - self._first])

    def close(self) -> None:
        """Close the file."""
        self._closing()

    def _broken(self, reason: str) -> FileError:
        return FileError(f"{self._what} {self._where}: {reason}; copy or make it again")

    def _read(self, size: int, offset: int, page: int) -> bytes:
        """Return `size` bytes; where pages follow each other, many are read at once."""
        start = offset - self._window_start
        window = self._window
        if start >= 0 and start + size <= len(window):
            return window[start : start + size]
        follows = 0 <= start <= len(window) + self._page_bytes
        if follows and size < WINDOW_BYTES // 2:
            self._window = self._pread(WINDOW_BYTES, offset, page)
            self._window_start = offset
            data = self._window[:size]
        else:
            data = self._pread(size, offset, page)
            if size < WINDOW_BYTES // 2:
                self._window, self._window_start = data, offset
        if len(data) < size:
            raise self._broken(f"page {page} is behind the end of the file")
        return data

    def _pread(self, size: int, offset: int, page: int) -> bytes:
        try:
            return os.pread(self._descriptor, size, offset)
        except OSError as error:
            raise self._broken(f"page {page}: {error.strerror}") from None

    # ------------------------------------------------------------ the start

    def _read_meta(self) -> tuple[int, int, int, int]:
        """Return the numbers of items, levels, the root and the last page."""
        self._page_bytes = PAGE_SIZES[0]
        metas = []
        for number in (0, 1):
            start = os.pread(self._descriptor, META_BYTES, number * self._page_bytes)
            fields = _META.unpack_from(start.ljust(META_BYTES, b"\0"), _PAGE.size)
            flags = _PAGE.unpack_from(start.ljust(_PAGE.size, b"\0"))[2]
            magic, version, page_bytes = fields[:3]
            if magic != MAGIC or not flags & META:
                raise FileError(f"{self._what} is no LMDB database")
            if version != VERSION:
                raise FileError(
                    f"{self._what} is of version {version} of LMDB's format, only "
                    f"{VERSION} can be read; dump it with mdb_dump and load it with "
                    f"an LMDB 0.9"
                )
            if page_bytes not in (PAGE_SIZES if number == 0 else (self._page_bytes,)):
                raise FileError(
                    f"{self._what} is no LMDB database: pages of {page_bytes} bytes"
                )
            self._page_bytes = page_bytes
            metas.append(fields)
        newer = max(metas, key=lambda fields: fields[-1])
        flags, levels, _, _, _, entries, root, last, _ = newer[4:]
        if flags & DUPSORT:
            raise FileError(
                f"{self._what} has several values for a key (DUPSORT), which data "
                f"layers do not read; write one item for each"
            )
        size, needed = os.fstat(self._descriptor).st_size, (last + 1) * self._page_bytes
        if size < needed:
            raise FileError(
                f"{self._what} was cut short: it has {size} bytes of {needed}; copy "
                f"or make it again"
            )
        if (root == NO_PAGE) != (entries == 0) or not 0 <= levels <= MAX_LEVELS:
            raise self._broken(f"{entries} items, {levels} levels, root {root}")
        return entries, levels, root, last

    # ------------------------------------------------------------ the tree

    def _rewind(self) -> None:
        """Go before the first leaf."""
        self._seen = bytearray((self._last >> 3) + 1)  # a bit for each page
        self._leaves = self._below(self._root, 1)
        self._places = ()
        self._first = self._end = 0
        self._ends_so_far, self._numbers_so_far = array("Q"), array("Q")

    def _below(
        self, number: int, level: int
    ) -> Iterator[tuple[bytes, tuple[int, ...]]]:
        """Yield the leaves from a page down, each with the places of its nodes."""
        kind = BRANCH if level < self._levels else LEAF
        page, places = self._page(number, kind)
        place, bit = number >> 3, 1 << (number & 7)
        if self._seen[place] & bit:
            raise self._broken(f"page {number} has two places in the tree")
        self._seen[place] |= bit
        if kind == LEAF:
            yield page, places
            return
        for place in places:
            low, high, top, _ = _NODE.unpack_from(page, place)
            yield from self._below(low | high << 16 | top << 32, level + 1)

    def _page(self, number: int, kind: int) -> tuple[bytes, tuple[int, ...]]:
        """Return a page and the places of its nodes, of which their starts fit."""
        if not 1 < number <= self._last:
            raise self._broken(f"there is no page {number}")
        size = self._page_bytes
        page = self._read(size, number * size, number)
        named, _, flags, lower, upper = _PAGE.unpack_from(page)
        if named != number or flags & (KINDS | LEAF2 | SUBPAGE) != kind:
            raise self._broken(
                f"page {number} is no {'leaf' if kind == LEAF else 'branch'}"
            )
        count, odd = divmod(lower - _PAGE.size, 2)
        if odd or count < 1 or not lower <= upper <= size:
            raise self._broken(f"page {number}: {count} nodes from {lower} to {upper}")
        places = struct.unpack_from(f"<{count}H", page, _PAGE.size)
        if min(places) < upper or max(places) > size - _NODE.size:
            raise self._broken(f"page {number}: a node is not on its page")
        return page, places

    def _node(self, place: int) -> tuple[bytes, bytes]:
        """Return the key and the value of a node of the leaf."""
        page = self._leaf
        low, high, flags, key_bytes = _NODE.unpack_from(page, place)
        size = low | high << 16
        start = place + _NODE.size
        value = start + key_bytes
        end = value + (_NUMBER.size if flags & BIG else size)
        if end > len(page):
            raise self._broken("its node is longer than its page")
        key = page[start:value]
        if flags & (TREE | SEVERAL):
            raise self._broken(f"key {key!r} holds a database, not a value")
        if flags & BIG:
            return key, self._overflow(_NUMBER.unpack_from(page, value)[0], size)
        return key, page[value:end]

    def _overflow(self, number: int, size: int) -> bytes:
        """Return a value that lies in pages of its own."""
        if not 1 < number <= self._last:
            raise self._broken(f"there is no page {number}")
        offset = number * self._page_bytes
        header = self._read(_PAGES.size, offset, number)
        named, _, flags, pages = _PAGES.unpack(header)
        if named != number or flags & KINDS != OVERFLOW:
            raise self._broken(f"page {number} is no overflow page")
        room = min(pages, self._last - number + 1) * self._page_bytes - _PAGES.size
        if size > room:
            raise self._broken(f"a value of {size} bytes has {pages} pages")
        return self._read(size, offset + _PAGES.size, number)


def _open(source: str, what: str) -> int:
    path = Path(source)
    try:
        if not path.exists():
            raise FileError(f"{what} does not exist")
        file = path / "data.mdb" if path.is_dir() else path
        if not file.is_file():
            raise FileError(f"{what} is no LMDB database: it has no file data.mdb")
        return os.open(file, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except (OSError, ValueError) as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"{what} cannot be read: {error}") from None
