"""Small damage, at random from a seed: what a broken disk or a careless hand does."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence

import numpy as np

Rng = np.random.Generator

NUMBERS = (
    *("0", "-1", "1", "2", "3", "7", "1.5", "-0.0", "1e30", "1e-30", "nan", "inf"),
    *("2147483647", "2147483648", "4294967295", "4294967296", "-2147483648"),
    *(
        "9223372036854775807",
        "18446744073709551616",
        "65536",
        "1000000",
        "0x10",
        "true",
    ),
)
WORDS = ("", "x" * 300, "a/b", "../a", "é", "\\377", "\\000", "data", "None", "${a}")
TOKEN = re.compile(
    r'"(?:\\.|[^"\\\n])*"|[A-Za-z_]\w*|[-+]?[\d.][\w.+-]*|\s+|.', re.DOTALL
)
SIZES = (0, 1, 2, 4, 127, 128, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1)
BLOCK = 64  # bytes that are moved, doubled or taken away at most


def of_bytes(data: bytes, rng: Rng, others: Sequence[bytes] = ()) -> bytes:
    """Return `data` with one to eight places changed; parts may come from `others`."""
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 9) if rng.random() < 0.5 else 1)):
        if not out:
            break
        place = int(rng.integers(0, len(out)))
        if rng.random() < 0.3:  # headers say most
            place = min(place, int(rng.integers(0, 200)))
        end = place + int(rng.integers(1, BLOCK))
        _change_bytes(out, place, end, rng, others)
    return bytes(out)


def _change_bytes(
    out: bytearray, place: int, end: int, rng: Rng, others: Sequence[bytes]
) -> None:
    kind = int(rng.integers(0, 9))
    if kind == 0:
        out[place] ^= 1 << int(rng.integers(0, 8))
    elif kind == 1:
        out[place] = int(rng.integers(0, 256))
    elif kind == 2:
        number = SIZES[int(rng.integers(0, len(SIZES)))]
        order = "<>"[int(rng.integers(0, 2))]
        value = struct.pack(order + "Q", number)
        size = (1, 2, 4, 8)[int(rng.integers(0, 4))]
        value = value[:size] if order == "<" else value[8 - size :]
        out[place : place + size] = value
    elif kind == 3:
        out[place:end] = bytes([int(rng.choice([0, 255]))]) * (end - place)
    elif kind == 4:
        del out[place:end]
    elif kind == 5:
        out[place:place] = out[place:end]
    elif kind == 6:
        out[place:place] = rng.bytes(int(rng.integers(1, 9)))
    elif kind == 7:
        source = others[int(rng.integers(0, len(others)))] if others else bytes(out)
        start = int(rng.integers(0, max(len(source), 1)))
        out[place:end] = source[start : start + end - place]
    elif rng.random() < 0.3:
        del out[place:]  # the disk was full


def of_text(data: bytes, rng: Rng, others: Sequence[bytes] = ()) -> bytes:
    """Return text with one to six tokens changed; parts may come from `others`."""
    text = data.decode()
    words = TOKEN.findall(text)
    source = TOKEN.findall(others[int(rng.integers(0, len(others)))].decode())
    for _ in range(int(rng.integers(1, 7) if rng.random() < 0.5 else 1)):
        places = [i for i, word in enumerate(words) if not word.isspace()]
        if not places:
            break
        place = places[int(rng.integers(0, len(places)))]
        _change_words(words, place, source, rng)
    return "".join(words).encode()


def _change_words(words: list[str], place: int, source: list[str], rng: Rng) -> None:
    word = words[place]
    kind = int(rng.integers(0, 8))
    if kind < 4:  # another word of its kind
        words[place] = _other(word, words if kind < 2 else source, rng)
    elif kind == 4:
        del words[place : place + int(rng.integers(1, 6))]
    elif kind == 5:
        words[place:place] = words[place : place + int(rng.integers(1, 30))]
    elif kind == 6:
        start = int(rng.integers(0, len(source)))
        words[place:place] = source[start : start + int(rng.integers(1, 40))]
    else:
        words[place] = _new(word, rng)


def _kind(word: str) -> str:
    if word[0] == '"':
        return "text"
    return (
        "number"
        if re.match(r"[-+\d.]", word)
        else "name"
        if word[0].isalpha()
        else word
    )


def _other(word: str, words: Sequence[str], rng: Rng) -> str:
    same = [w for w in words if not w.isspace() and _kind(w) == _kind(word)]
    return same[int(rng.integers(0, len(same)))] if same else _new(word, rng)


def _new(word: str, rng: Rng) -> str:
    if _kind(word) == "text":
        return f'"{WORDS[int(rng.integers(0, len(WORDS)))]}"'
    return NUMBERS[int(rng.integers(0, len(NUMBERS)))]


def of_lmdb(data: bytes, rng: Rng, others: Sequence[bytes] = ()) -> bytes:
    """Return a database with places changed, most of them in what describes pages."""
    if rng.random() < 0.3:
        return of_bytes(data, rng, others)
    page_bytes = 4096
    out = bytearray(data)
    pages = len(out) // page_bytes
    for _ in range(int(rng.integers(1, 5))):
        page = int(rng.integers(0, pages)) * page_bytes
        place = 2 * int(rng.integers(0, 100))
        if rng.random() < 0.4:  # nodes lie at the end of a page
            place = page_bytes - 8 - place
        size = int(rng.choice([1, 2, 4, 8]))
        number = struct.pack("<Q", int(rng.integers(0, pages + 1)))
        value = (bytes(8), b"\xff" * 8, number, rng.bytes(8))[int(rng.integers(0, 4))]
        out[page + place : page + place + size] = value[:size]
    if rng.random() < 0.05:
        del out[int(rng.integers(1, len(out))) :]
    return bytes(out)
