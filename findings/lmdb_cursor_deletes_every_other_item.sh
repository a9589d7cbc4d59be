#!/bin/sh
# Deleting at an LMDB cursor that is iterated over leaves every other item.
#
# Versions: lmdb 3.0.0 (its wheel, LMDB 0.9.36).
# Expected: `for key, value in cursor: cursor.delete()` empties a database, and what
# looks at each item and deletes the bad ones looks at each item; or an error, as for a
# dict that changes while one iterates over it.
# Happens: delete goes on to the next item, and the iteration then goes on once more:
# the item behind each deleted one is never seen. Nothing tells. Backwards, by iterprev,
# the loop ends when it deletes the last item. transaction.delete(key) is right.
# Remedy: transaction.delete(key) in the loop.
# Seen (images 0 to 7, of which 2, 3, 4 and 7 are bad; what is left):
#   cursor.delete: seen 0 1 2 4 6 7, left 0 1 3 5 6
#   transaction.delete: seen 0 1 2 3 4 5 6 7, left 0 1 5 6
#   cursor.delete in iterprev: seen 7, left 0 1 2 3 4 5 6
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
  lmdb==3.0.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import lmdb

BAD = {2, 3, 4, 7}


def told(numbers):
    return " ".join(map(str, numbers))


def clean(name, forward, by_cursor):
    """Delete the bad images of a new database; return which were seen, which left."""
    seen = []
    with lmdb.open(name, map_size=1 << 20) as database:
        with database.begin(write=True) as transaction:
            for number in range(8):
                transaction.put(b"%08d" % number, b"image")
        with database.begin(write=True) as transaction:
            cursor = transaction.cursor()
            for key, _ in cursor if forward else cursor.iterprev():
                seen.append(int(key))
                if int(key) in BAD:
                    cursor.delete() if by_cursor else transaction.delete(key)
        with database.begin() as transaction:
            left = [int(key) for key, _ in transaction.cursor()]
    return f"seen {told(seen)}, left {told(left)}"


found = [
    f"cursor.delete: {clean('one', True, True)}",
    f"transaction.delete: {clean('two', True, False)}",
    f"cursor.delete in iterprev: {clean('three', False, True)}",
]
print(*found, sep="\n")
if found != [
    "cursor.delete: seen 0 1 2 4 6 7, left 0 1 3 5 6",
    "transaction.delete: seen 0 1 2 3 4 5 6 7, left 0 1 5 6",
    "cursor.delete in iterprev: seen 7, left 0 1 2 3 4 5 6",
]:
    sys.exit("changed")
PYTHON
