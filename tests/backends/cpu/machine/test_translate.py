"""Compiled code does what Python does with the same text."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from runtime.backends.cpu.machine.arithmetic import UntranslatedError
from runtime.backends.cpu.machine.llvm import LANES
from runtime.backends.cpu.machine.parts import exact, helper, outlined
from runtime.backends.cpu.machine.simd import f32, f64, i32, i64, u8
from tests.backends.cpu.machine.made import Made

RNG = np.random.default_rng(7)
WHOLE = [
    *range(-9, 10),
    64,
    -64,
    1000003,
    -(2**40),
    *RNG.integers(-99, 99, 12).tolist(),
]


def run(function: Any, *numbers: int) -> None:
    """Compile a function of whole numbers, and call it."""
    Made(function).native(*numbers)


def compiled(part: Any, arguments: int, put: Any = i64) -> Any:
    """Return a function of whole numbers as compiled code."""

    def one(out: int, a: int) -> None:
        put(out)[0] = part(a)

    def two(out: int, a: int, b: int) -> None:
        put(out)[0] = part(a, b)

    made = Made((one, two)[arguments - 1])
    out = np.zeros(1, OF[put])

    def call(*numbers: int) -> Any:
        made.native(out.ctypes.data, *numbers)
        return out[0]

    return call


OF = {i64: np.int64, f32: np.float32, f64: np.float64}


@helper
def quotients(a: int, b: int) -> int:
    return a // b * 1000 + a % b if b != 0 else -1


@helper
def by_constants(a: int, b: int) -> int:
    return a // 8 + a % 16 * 3 + b // 7 + b % 7 + a // -3 + a % -3 + (a << 3) + (b >> 2)


@helper
def bits(a: int, b: int) -> int:
    return ((a & b) | (a ^ 12)) - (b & 255) + -a


@helper
def chosen(a: int, b: int) -> int:
    inside = 0 <= a < b or (b == 3 and not a > 5)
    least, most = min(a, b, 4), max(a, -b)
    return least * 100 + most if inside else (least if a != b else most + abs(a))


@helper
def pair(a: int, b: int) -> tuple[int, int]:
    if a < b:
        return a, b
    return b, a


@outlined
def three_of(numbers: tuple[int, int], more: int) -> int:
    low, high = numbers
    if low == 0 or high - low > 500:
        return more
    while low < high:
        low += 3
        if low == more:
            break
        if low % 2 == 0:
            continue
        high -= 1
    return low * 7 + high


@helper
def applied(function: Any, a: int, b: int) -> int:
    both = (a, b)
    return int(function(*both))


@helper
def ordered(a: int, b: int) -> int:
    low, high = pair(a, b)
    return three_of(pair(high, low), 5) + applied(quotients, a, b) + high


@helper
def counted(a: int, b: int) -> int:
    total, last = 0, -1
    for i in range(a):
        for j in range(i, 30, 7):
            total += i * j
            last = j
    for k in range(b, a, -2):
        total -= k
    step = 2 if a > 0 else -2
    for k in range(b, 2 * a, step):
        if k == 11:
            break
        total += k
    return total * 3 + last


@pytest.mark.parametrize("part", [quotients, by_constants, bits, chosen, ordered])
def test_whole_numbers_are_those_of_python(part: Any) -> None:
    native = compiled(part, 2)
    for a in WHOLE:
        for b in WHOLE:
            assert native(a, b) == part(a, b), (a, b)


def test_loops_go_as_those_of_python() -> None:
    native = compiled(counted, 2)
    for a in range(-12, 13):
        for b in range(-40, 41, 3):
            assert native(a, b) == counted(a, b), (a, b)


@helper
def quotient(a: int, b: int) -> int:
    return a // b + a % b


def test_what_is_divided_by_zero_is_zero_and_stops_nothing() -> None:
    native = compiled(quotient, 2)
    assert native(7, 2) == quotient(7, 2)
    assert native(-7, 0) == native(0, 0) == -7 % 1


@exact
def singles(a: int, b: int) -> np.float32:
    x, y = np.float32(a) / np.float32(7), np.float32(b) * np.float32(0.3)
    z = x - y if x < y else x * y
    z += np.sqrt(abs(z)) - -z
    return max(z, np.float32(-50))


@exact
def doubles(a: int, b: int) -> float:
    x = a / 7 + np.float32(b) * np.float64(0.3)
    total = 0.0
    for i in range(3):
        total += min(x, 40.0) * i
    return total + int(x) + math.sqrt(np.float64(a) * np.float64(a)) + (x != x) * 2


@pytest.mark.parametrize(("part", "put"), [(singles, f32), (doubles, f64)])
def test_exact_numbers_have_the_bits_of_numpy(part: Any, put: Any) -> None:
    native = compiled(part, 2, put)
    for a in WHOLE:
        for b in WHOLE:
            assert native(a, b) == part(a, b), (a, b)


def test_elements_have_the_range_of_their_memory() -> None:
    def put(bytes_at: int, ints_at: int, count: int) -> None:
        for i in range(count):
            u8(bytes_at)[i] = i * 77
            i32(ints_at)[i] = i << 31
            i32(ints_at)[i] += u8(bytes_at)[i] - 1
            u8(bytes_at)[i] ^= 255

    small, ints = np.zeros(9, np.uint8), np.zeros(9, np.int32)
    run(put, small.ctypes.data, ints.ctypes.data, 9)
    want = (np.arange(9) * 77).astype(np.uint8)
    np.testing.assert_array_equal(small, 255 - want)
    moved = (np.arange(9) << 31) + want - 1
    np.testing.assert_array_equal(ints, moved.astype(np.int32))


def test_bits_of_numbers_of_one_type_are_of_it() -> None:
    def most(at: int, count: int) -> None:
        found = np.int32(0)
        for i in range(1, count):
            found = max(found, i32(at)[i] & np.int32(0x7FFFFFFF))
        i32(at)[0] = found

    numbers = RNG.integers(-(2**31), 2**31, 99).astype(np.int32)
    want = (numbers[1:] & 0x7FFFFFFF).max()
    run(most, numbers.ctypes.data, numbers.size)
    assert numbers[0] == want


@outlined
def changing(a: int) -> Any:
    value = a
    if a > 3:
        value = np.float32(value)
    return value


@outlined
def two_kinds(a: int) -> Any:
    if a > 0:
        return 1
    return 1.0


@outlined
def unknown(a: int) -> Any:
    return nowhere(a)  # type: ignore[name-defined]  # noqa: F821


@outlined
def over_a_list(a: int) -> Any:
    for one in [a, a]:
        a += one
    return a


@outlined
def either_number(a: int) -> int:
    return a or 5


@outlined
def last_of_both(a: int) -> int:
    return (a > 1 and a < 9) and a


@outlined
def itself(a: int) -> int:
    return a if a < 1 else itself(a - 1)


@outlined
def standing(a: int) -> int:
    for i in range(a, 9, 0):
        a += i
    return a


@outlined
def without_end(a: int) -> int:
    for i in range():  # type: ignore[call-overload]
        a += i
    return a


@outlined
def too_few(a: int) -> int:
    one, two, three = (a, a)  # type: ignore[misc]
    return one + two + three


@outlined
def behind_the_last(a: int) -> int:
    return (a, a)[2]  # type: ignore[misc, no-any-return]


@outlined
def either_pair(a: int) -> int:
    one, two = (a, 1) if a > 1 else (1, a)
    return one - two


@outlined
def no_such_function(a: int) -> int:
    return math.squareroot(a)  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (either_number, "int64 in a or 5"),
        (last_of_both, "int64 in .a > 1 and a < 9. and a"),
        (itself, "itself calls itself"),
        (standing, "the step of a range is 0"),
        (without_end, r"range\(\) has no translation"),
        (too_few, r"\(one, two, three\) gets \(int64, int64\)"),
        (behind_the_last, r"item 2 of \(int64, int64\)"),
        (either_pair, r"\(int64, int64\) or \(int64, int64\)"),
        (no_such_function, "math.squareroot is unknown"),
        (changing, "value is int64, then float32"),
        (two_kinds, "what is returned is int64, then float64"),
        (unknown, "nowhere is unknown"),
        (over_a_list, "a loop that is not over a range"),
    ],
)
def test_what_has_no_translation_is_an_error_that_names_the_line(
    part: Any, said: str
) -> None:
    with pytest.raises(UntranslatedError, match=rf"line \d+: {said}"):
        compiled(part, 1)(7)


def test_conditions_of_numbers_decide_as_in_python() -> None:
    @helper
    def decided(a: int, b: int) -> int:
        both = a > 0 and b > 0
        if (a and b) or (not (a or b) and both == 0):
            return 1
        while a or b > 3:
            a, b = 0, b - 1
        return 2 if b and a < 1 else 3

    native = compiled(decided, 2)
    for a in range(-2, 5):
        for b in range(-2, 7):
            assert native(a, b) == decided(a, b), (a, b)


def test_a_branch_that_is_never_taken_is_not_looked_at() -> None:
    @helper
    def known(a: int) -> int:
        if LANES == 3:
            return nowhere(a)  # type: ignore[name-defined]  # noqa: F821
        return a + 4 * (7 // 2)

    assert compiled(known, 1)(5) == 17
