"""Options that are repeated, as constants at the top of a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from netspec.to_python.naming import SHORT, Names, snake
from netspec.to_python.program import Func, Statement
from netspec.to_python.pyformat import Constant, Param, Template, document, flat

MIN_LENGTH = 24  # characters of a value that is worth a name
MAX_KINDS = 100  # of sets of options that are compared with each other
MAX_GROUPS = 3  # of options, for each type
MIN_USES = 2

Pair: TypeAlias = "tuple[str, str]"  # an option and its value as text


def constants_of(
    bodies: Sequence[Sequence[Statement]],
) -> tuple[list[Constant], dict[Statement, Constant]]:
    """Return the constants, and for statements the one with several of their options.

    `INNER = dict(weight_filler="xavier", bias_filler=0.2)` is for statements of one
    type, which take it as `**INNER`; a list or a dictionary is for whoever gives it.
    """
    statements = [statement for body in bodies for statement in body]
    taken = Names()
    values = _values(statements, taken)
    pairs_of = {statement: _pairs(statement) for statement in statements}
    known = {repr(constant.value): constant for constant in values}
    groups: dict[Statement, Constant] = {}
    made: list[Constant] = []
    for kind in dict.fromkeys(
        s.callee for s in statements if isinstance(s.callee, str)
    ):
        left = [s for s in statements if s.callee == kind]
        for _ in range(MAX_GROUPS):
            best = _best([pairs_of[s] for s in left])
            if best is None:
                break
            uses = [s for s in left if best <= pairs_of[s].keys()]
            pairs = {k: v for k, v in uses[0].options.items() if (k, repr(v)) in best}
            name = taken.free(snake(SHORT.get(kind, kind)).upper())
            group = Constant(name, {k: known.get(repr(v), v) for k, v in pairs.items()})
            made.append(group)
            groups.update(dict.fromkeys(uses, group))
            left = [s for s in left if s not in groups]
    used = _used(statements, groups, values, made)
    return [*used, *made], groups


def _values(statements: Sequence[Statement], taken: Names) -> list[Constant]:
    """Return the long values that several statements give."""
    counts: Counter[str] = Counter()
    first: dict[str, tuple[str, Any]] = {}
    for statement in statements:
        for key, value in statement.options.items():
            if not isinstance(value, dict | list) or not _is_constant(value):
                continue
            if len(flat(document(value))) >= MIN_LENGTH:
                counts[repr(value)] += 1
                first.setdefault(repr(value), (key, value))
    constants = []
    for text, count in counts.items():
        if count >= MIN_USES:
            key, value = first[text]
            name = taken.free(snake(key).upper())
            constants.append(Constant(name, value))
    return constants


def _used(
    statements: Sequence[Statement],
    groups: dict[Statement, Constant],
    values: Sequence[Constant],
    made: Sequence[Constant],
) -> list[Constant]:
    """Return the `values` that are written somewhere, not only inside of groups."""
    written = {id(v) for group in made for v in group.value.values()}
    texts = set()
    for statement in statements:
        group = groups.get(statement)
        for key, value in statement.options.items():
            if group is None or key not in group.value:
                texts.add(repr(value))
    return [c for c in values if id(c) in written or repr(c.value) in texts]


def _pairs(statement: Statement) -> dict[Pair, int]:
    """Return the options that are constant, and how long they are."""
    return {
        (key, repr(value)): len(flat(document(value))) + len(key) + 1
        for key, value in statement.options.items()
        if _is_constant(value)
    }


def _best(given: Sequence[Mapping[Pair, int]]) -> frozenset[Pair] | None:
    """Return the options that save most characters as one constant, if any do.

    given: the constant options of each statement. Of more than `MAX_KINDS` sets of
    options only those that occur most are looked at.
    """
    counts = Counter(pair for pairs in given for pair in pairs)
    lengths = {pair: size for pairs in given for pair, size in pairs.items()}
    sets = Counter(
        frozenset(pair for pair in pairs if counts[pair] >= MIN_USES) for pairs in given
    )
    kinds = sorted(sets, key=sorted)
    if len(kinds) > MAX_KINDS:
        kinds = sorted(kinds, key=lambda each: -sets[each])[:MAX_KINDS]
    candidates = {a & b for a in kinds for b in kinds}
    best, most = None, 0
    for candidate in sorted(candidates, key=sorted):
        if len(candidate) < 2:
            continue
        length = sum(lengths[pair] for pair in candidate)
        if (min(counts[pair] for pair in candidate) - 1) * length <= most:
            continue  # it cannot be better
        uses = sum(count for each, count in sets.items() if candidate <= each)
        gain = (uses - 1) * length - 12 * uses - 20
        if uses >= MIN_USES and gain > most:
            best, most = candidate, gain
    return best


def _is_constant(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_is_constant, value.values()))
    if isinstance(value, list):
        return all(map(_is_constant, value))
    return not isinstance(value, Param | Template | Func)
