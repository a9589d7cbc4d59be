"""Names of numbers to watch: `loss` of training, `val_accuracy` of the tests.

`loss` is that of training. What a test net puts out is called `val_` and its name, of
the second test net `val1_` and its name, and so on; `val_loss` is the whole objective
where no output has that name. The name of an output alone, and `test_` before it, are
understood as well.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Literal

from netspec.errors import SpecError, did_you_mean
from runtime.training.records import TestRecord

Mode = Literal["auto", "min", "max"]
LOSS = "loss"
# Parts of names that tell which way is better.
LESS = ("loss", "error", "err", "cost", "perplexity", "mse", "mae", "rmse")
MORE = (
    *("acc", "accuracy", "precision", "recall", "auc", "f1", "iou", "map", "map50"),
    *("top1", "top5", "top", "dice", "psnr", "ssim", "ap", "miou"),
)


def prefix(net: int) -> str:
    """Return how the names of a test net begin."""
    return f"val{net or ''}_"


def named(record: TestRecord) -> dict[str, float]:
    """Return the numbers of a test by their names."""
    start = prefix(record.net)
    found = {f"{start}{name}": value for name, value in record.scalars().items()}
    objective = record.loss
    if objective is None and record.loss_weights:
        weights = record.loss_weights.items()
        terms = [weight * found.get(start + name, 0.0) for name, weight in weights]
        objective = sum(terms)
    if objective is not None:
        found.setdefault(f"{start}{LOSS}", objective)
    return found


def among(name: str, known: Collection[str]) -> str | None:
    """Return the one of the known names that is meant, or None."""
    if name in known:
        return name
    bare = name.removeprefix("test_")
    tries = [f"val_{bare}", *sorted(k for k in known if k.partition("_")[2] == bare)]
    return next((one for one in tries if one in known), None)


def no_such_name(name: str, known: Iterable[str], what: str = "monitor") -> SpecError:
    """Return the error of a name that nothing has."""
    known = list(dict.fromkeys(known))
    return SpecError(
        f"{what} {name!r} is neither a result of the tests nor 'loss'"
        f"{did_you_mean(name, known)}; there are: {', '.join(known) or 'none'}"
    )


def mode_of(
    name: str, mode: str, *, is_loss: bool = False, is_score: bool = False
) -> str:
    """Return "min" or "max": whether less or more of a number is better.

    is_loss, is_score: what its layer tells. Else its name does.

    Raises `SpecError` for a name that tells nothing, and for another mode.
    """
    if mode in ("min", "max"):
        return mode
    if mode != "auto":
        raise SpecError(f"mode must be 'auto', 'min' or 'max', got {mode!r}")
    words = name.lower().replace("/", "_").replace("@", "_").split("_")
    if is_loss or (not is_score and _has(words, LESS)):
        return "min"
    if is_score or _has(words, MORE):
        return "max"
    raise SpecError(
        f"whether more or less of {name!r} is better cannot be told of its name; say "
        f"mode='min' or mode='max'"
    )


def _has(words: Iterable[str], known: Collection[str]) -> bool:
    return any(
        w in known or any(w.endswith(k) for k in known if len(k) > 3) for w in words
    )


def is_better(value: float, best: float | None, mode: str, min_delta: float) -> bool:
    """Say whether a number is better than the best so far by more than `min_delta`.

    One that is not a number never is.
    """
    if value != value:
        return False
    if best is None:
        return True
    return value < best - min_delta if mode == "min" else value > best + min_delta
