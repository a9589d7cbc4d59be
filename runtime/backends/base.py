"""What a backend is: primitives on a device, and the choice of kernels for them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from netspec.errors import SpecError, UnsupportedError, did_you_mean
from netspec.ops.base import Shape, label
from runtime.arrays import Array
from runtime.distributed.communicator import Group
from runtime.layers import portable_kernels
from runtime.layers.base import Context, Kernel
from runtime.layers.batch_norm import SyncedNorm
from runtime.primitives import Primitives
from runtime.update_rules import Block, GuardedUpdate, Settings, Update, WholeUpdate

if TYPE_CHECKING:
    from netspec.graph import Graph, Node
    from netspec.graph.memory import Touch


# Of products, and of what blobs are stored as.
PRECISIONS = ("float32", "tf32", "bf16", "fp16")


class Place(Protocol):
    """How a blob lies in the memory of a device."""

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""


class Report(Protocol):
    """What an iteration on a device came to, once it has done it."""

    def loss(self) -> float:
        """Return the objective; waits for the device."""

    def finite(self) -> bool:
        """Say whether all was finite since `clear`; waits for the device."""


class Iterations(Protocol):
    """Whole iterations on a device, which the host need not wait for.

    An iteration is `iter_size` batches, of each the calls of a pass forward, those of
    `between`, a pass backward and the calls of `after`. losses, seeds: data and
    gradient of every top with a weight, each with that weight.
    """

    def between(self, seeds: Sequence[tuple[Any, float]]) -> list[Any]:
        """Return the calls ahead of backward."""

    def after(
        self,
        losses: Sequence[tuple[Any, float]],
        seeds: Sequence[tuple[Any, float]],
        *,
        first: bool,
        last: bool,
    ) -> list[Any]:
        """Return the calls behind backward of the first or last or another batch."""

    def prepare(self, rate: float, iteration: int, *, careful: bool) -> None:
        """Say what holds for the next iteration.

        careful: leave out all updates from one on that has something not finite.
        """

    def report(self) -> Report:
        """Ask for the report of the iteration that was launched last."""

    def clear(self) -> None:
        """Take updates again, after what was not finite."""


class Fusion(Protocol):
    """Layers that run as one, when all of a net runs."""

    def forward(self) -> Mapping[int, Sequence[Any]]:
        """Return other calls for some nodes."""

    def backward(
        self, flags: Mapping[int, Sequence[bool]]
    ) -> Mapping[int, Sequence[Any]]:
        """Return other calls for some nodes; flags: what `backward` of each gets."""

    def left_out(self) -> Iterable[tuple[Sequence[int], Sequence[int]]]:
        """Return what is not written though it may be kept: nodes, edges between."""

    def divide(self, again: Container[int]) -> None:
        """Let no layers run forward as one of which some run again and others not."""

    def settled(self) -> Collection[int]:
        """Return nodes that run together always if a blob between has no memory."""

    def touched(self) -> Iterable[Touch]:
        """Return data that is used in other steps than those of its layers."""


class Backend(Primitives):
    """Primitives on one device, and which kernels run there.

    By default these are the portable ones, nothing runs as one, and no update rule is
    one piece of work.
    """

    precisions: ClassVar[Sequence[str]] = ("float32",)
    leaves_out: ClassVar[bool] = False  # blobs between layers that run as one

    @property
    def group(self) -> Group | None:
        """What adds up arrays over the devices of several processes, if there is."""
        return None

    @property
    def title(self) -> str:
        """What people are told to compute on: its name, and what there is to say."""
        return self.name

    def check_precision(self, precision: str, dtype: str) -> None:
        """Refuse a precision that this backend, or a net of `dtype`, does not have.

        Raises `SpecError`.
        """
        if precision not in PRECISIONS:
            raise SpecError(
                f"unknown precision {precision!r}"
                f"{did_you_mean(precision, PRECISIONS)}; "
                f"expected one of {', '.join(PRECISIONS)}"
            )
        if precision not in self.precisions:
            raise SpecError(
                f"backend {self.name!r} has no precision {precision!r}; it computes in "
                f"{', '.join(self.precisions)}. Others need a GPU: backend 'cupy'"
            )
        if precision != "float32" and dtype != "float32":
            raise SpecError(
                f"precision {precision!r} is for nets of float32, not of {dtype}"
            )

    def kernel(self, node: Node, dtype: str) -> Callable[[Node, Context], Kernel[Any]]:
        """Return what makes the kernel of a node: an own one or the portable one."""
        found = portable_kernels().get(node.type)
        if found is None:
            raise UnsupportedError(
                "this layer type has no arithmetic in the runtime yet; it can be "
                "written, checked and exported only",
                layer=label(node.layer),
            )
        return found

    def synced_norm(
        self, node: Node, dtype: str
    ) -> Callable[[Node, Context], Kernel[Any]]:
        """Return what makes the kernel of a BatchNorm or BN whose ranks meet in it."""
        return SyncedNorm

    def arrange(
        self, graph: Graph, kernels: Sequence[Kernel[Any]], context: Context
    ) -> tuple[Sequence[Place | None], Sequence[Kernel[Any]]]:
        """Choose where every blob lies in memory, None for a plain array.

        Returns that for every edge, and the kernels that suit it.
        """
        return [None] * len(graph.edges), kernels

    def blob(
        self,
        cut: Callable[[Shape, str], Array],
        shape: Shape,
        dtype: str,
        place: Place | None,
    ) -> Array:
        """Return a blob in memory that `cut(shape, dtype)` gives."""
        return cut(shape, dtype)

    def fusion(
        self,
        graph: Graph,
        kernels: Sequence[Kernel[Any]],
        keep: Container[str] | None = None,
    ) -> Fusion | None:
        """Find layers that run as one, before the kernels ask for arrays.

        keep: the names of the blobs that are kept, None for all.
        """
        return None

    def fused_update(
        self, rule: str, blocks: Sequence[Block], settings: Settings
    ) -> GuardedUpdate | None:
        """Return one that takes whole steps of an update rule, if there is one."""
        return None

    def whole_update(
        self, update: Update, precision: str = "float32"
    ) -> WholeUpdate | None:
        """Return one that does all that an update does, if there is one."""
        return None

    def iterations(self, update: Update, losses: int) -> Iterations | None:
        """Return what runs whole iterations with an update rule, if there is such.

        losses: how many tops have a weight.
        """
        return None
