"""BatchNorm and BN: every channel by its mean and variance; shapes pass through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from netspec.errors import ShapeError, SpecError
from netspec.ops.base import (
    NoReadOp,
    ParamDef,
    Shape,
    constant,
    count,
    filler,
    infers,
    label,
)
from netspec.ops.by_fork import assume
from netspec.schema import TEST, LayerParameter
from netspec.schema.in_force import fork
from netspec.schema.norms import batch_norm_affine, bn_form, statistics_slots

NVCAFFE_EPS = 1e-5  # the least that NVCaffe's layers with a factor take
SEGNET_EPS = 1e-9


class Slots(NamedTuple):
    """Which parameter is what; None for what a layer does not have.

    weight: the factor that the stored means and variances are to be divided by.
    """

    gamma: int | None = None
    beta: int | None = None
    mean: int | None = None
    variance: int | None = None
    weight: int | None = None


class ChannelNorm(NoReadOp):
    """What normalizes every channel (axis 1), and may multiply and add a number.

        y = gamma (x - mean) / sqrt(var + eps) + beta

    The kernel saves the normalised values, so the gradient reads no blob and works in
    place; where it `reads_bottom`, as nothing is written over that, it need not.
    Stored statistics follow the data, not a gradient: keep times what is stored
    plus share times that of the batch.
    """

    in_place: ClassVar[bool] = True
    channels: int
    eps: float
    reads_bottom: bool

    @property
    def backward_bottoms(self) -> tuple[int, ...]:
        """The input, where it stays."""
        return (0,) if self.reads_bottom else ()

    @property
    def slots(self) -> Slots:
        """Which parameter is what."""
        raise NotImplementedError

    @property
    def statistics(self) -> str:
        """Those that are used: "batch", "stored", or "none" where there are none."""
        raise NotImplementedError

    @property
    def remembers(self) -> bool:
        """Whether forward passes change the stored statistics."""
        return self.statistics == "batch" and self.slots.mean is not None

    @property
    def keep(self) -> float:
        """What part of the stored statistics stays."""
        raise NotImplementedError

    @property
    def share(self) -> float:
        """The part of the statistics of the batch that is added."""
        return 1 - self.keep

    @property
    def unbiased(self) -> bool:
        """Whether variances are stored as sums of squares over m - 1 of m values."""
        return False

    @property
    def learned_params(self) -> tuple[int, ...]:
        """The factor and the bias: statistics are not learned."""
        slots = self.slots
        return tuple(slot for slot in (slots.gamma, slots.beta) if slot is not None)

    def saved_bytes(self, itemsize: int) -> int:
        """Return the size of the normalised values, if the gradient needs them."""
        if self.reads_bottom:
            return 0
        if self.statistics == "batch" or self.slots.gamma is not None:
            return count(self.tops[0]) * itemsize
        return 0


@dataclass(frozen=True, kw_only=True)
class BatchNorm(ChannelNorm):
    """y = (x - mean) / sqrt(var + eps) for every channel (axis 1).

    Parameters 0 and 1 are the sums of means and variances, (C,) each, parameter 2 the
    factor (1,) to divide them by.
    """

    type: ClassVar[str] = "BatchNorm"
    channels: int
    use_global_stats: bool
    moving_average_fraction: float
    eps: float
    reads_bottom: bool = False

    @property
    def slots(self) -> Slots:
        """The sums and their divisor."""
        return Slots(mean=0, variance=1, weight=2)

    @property
    def statistics(self) -> str:
        """Those that are used."""
        return "stored" if self.use_global_stats else "batch"

    @property
    def keep(self) -> float:
        """The moving average fraction."""
        return self.moving_average_fraction

    @property
    def share(self) -> float:
        """All of it: parameter 2 counts how much was added."""
        return 1

    @property
    def unbiased(self) -> bool:
        """As in Caffe."""
        return True


@dataclass(frozen=True, kw_only=True)
class ForkBatchNorm(BatchNorm):
    """A BatchNorm with options of forks; a class of its own, as few kernels know them.

    scaled, biased: it has a factor, and a bias, (C,) each, after the three parameters
    of BatchNorm (NVCaffe, Intel). updates: whether the sums change at all (DeepLab).
    """

    scaled: bool
    biased: bool
    updates: bool

    @property
    def slots(self) -> Slots:
        """Those of BatchNorm, and the factor and bias behind them."""
        scaled, biased = self.scaled, self.biased
        return Slots(
            gamma=3 if scaled else None,
            beta=3 + scaled if biased else None,
            mean=0,
            variance=1,
            weight=2,
        )

    @property
    def remembers(self) -> bool:
        """Whether forward passes change the stored statistics."""
        return self.updates and super().remembers


@dataclass(frozen=True, kw_only=True)
class BN(ChannelNorm):
    """The BN of a fork: a BatchNorm with a factor and a bias of its own.

    form: "pspnet" (parameters factor, bias, stored mean, stored variance), "segnet"
    (factor, bias) or "ducha-aiki" (as pspnet), each (1, C, 1, 1). momentum: what part
    of the stored statistics stays. SegNet's may have two more tops, mean and variance
    of the batch, (1, C, 1, 1).
    """

    type: ClassVar[str] = "BN"
    form: str
    channels: int
    uses: str
    momentum: float
    eps: float
    reads_bottom: bool = False

    @property
    def slots(self) -> Slots:
        """The order in all forks."""
        if self.form == "segnet":
            return Slots(gamma=0, beta=1)
        return Slots(gamma=0, beta=1, mean=2, variance=3)

    @property
    def statistics(self) -> str:
        """Those that are used: `uses`."""
        return self.uses

    @property
    def remembers(self) -> bool:
        """Whether forward passes change the stored statistics."""
        return super().remembers and self.momentum < 1

    @property
    def keep(self) -> float:
        """The momentum."""
        return self.momentum

    @property
    def unread_tops(self) -> tuple[int, ...]:
        """Mean and variance of the batch, as in SegNet."""
        return tuple(range(1, len(self.tops)))


@infers("BatchNorm")
def batch_norm(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> BatchNorm:
    """Read a BatchNorm layer."""
    param = layer.batch_norm_param
    if not bottoms[0]:
        raise ShapeError(
            "the input is a scalar; expected (N, C, ...)", layer=label(layer)
        )
    channels = 1 if len(bottoms[0]) == 1 else bottoms[0][1]
    given = param.HasField("use_global_stats")
    stored = param.use_global_stats if given else layer.phase == TEST
    zero = constant(0)
    statistics = (
        ParamDef((channels,), zero),
        ParamDef((channels,), zero),
        ParamDef((1,), zero),
    )
    scaled, biased = batch_norm_affine(layer)
    updates = not param.HasField("update_global_stats") or param.update_global_stats
    if updates and not scaled:
        return BatchNorm(
            layer=layer,
            bottoms=bottoms,
            tops=bottoms,
            params=statistics,
            channels=channels,
            use_global_stats=stored,
            moving_average_fraction=param.moving_average_fraction,
            eps=_nvcaffe_eps(param.eps),
        )
    first = "filler" if param.HasField("filler") else "scale_filler"
    learned = (
        ParamDef((channels,), filler(param, first, 1)),
        ParamDef((channels,), filler(param, "bias_filler")),
    )
    return ForkBatchNorm(
        layer=layer,
        bottoms=bottoms,
        tops=bottoms,
        params=(*statistics, *learned[: scaled + biased]),
        channels=channels,
        use_global_stats=stored,
        moving_average_fraction=param.moving_average_fraction,
        eps=max(param.eps, NVCAFFE_EPS) if scaled else _nvcaffe_eps(param.eps),
        scaled=scaled,
        biased=biased,
        updates=updates,
    )


def _nvcaffe_eps(eps: float) -> float:
    """Return what is added to the variance: where NVCaffe is in force, its least."""
    nvcaffe = (fork() or "").startswith("nvidia-")
    return max(eps, NVCAFFE_EPS) if nvcaffe else eps


@infers("BN")
def bn(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> BN:
    """Read a BN layer, whose fields tell the fork."""
    param, form = layer.bn_param, bn_form(layer)
    if not layer.HasField("bn_param") and not layer.blobs:
        assume(
            layer,
            "has no bn_param, which tells whose BN it is; taken for that of PSPNet, "
            "with statistics that are kept. Say --fork pspnet, or --fork segnet "
            "(ducha-aiki) for theirs",
        )
    if len(bottoms[0]) < 2:
        raise ShapeError(
            f"the input has shape {bottoms[0]}; expected (N, C, ...)",
            layer=label(layer),
        )
    channels = bottoms[0][1]
    small = (1, channels, 1, 1)
    test = layer.phase == TEST
    if form == "pspnet":
        scale, shift = "slope_filler", "bias_filler"
        uses = "stored" if test or param.frozen else "batch"
        momentum, eps = param.momentum, param.eps
    elif form == "segnet":
        scale, shift = "scale_filler", "shift_filler"
        uses = "none" if param.bn_mode == type(param).INFERENCE else "batch"
        momentum, eps = 1.0, SEGNET_EPS
    else:
        scale, shift = "scale_filler", "shift_filler"
        uses = "stored" if test and param.moving_average else "batch"
        momentum, eps = _kept(layer), param.var_eps
    if not 0 <= momentum <= 1:
        raise SpecError(
            f"momentum is {momentum:g}; expected the part of the stored statistics "
            f"that stays, from 0 to 1",
            layer=label(layer),
        )
    if len(layer.top) > 1 and (form != "segnet" or uses == "none"):
        raise SpecError(
            f"only SegNet's BN in mode LEARN has more tops, mean and variance; "
            f"remove top {layer.top[1]!r}",
            layer=label(layer),
        )
    zero = constant(0)
    stored = ParamDef(small, zero), ParamDef(small, constant(float(param.frozen)))
    learned = (
        ParamDef(small, filler(param, scale, 1)),
        ParamDef(small, filler(param, shift)),
    )
    return BN(
        layer=layer,
        bottoms=bottoms,
        tops=(bottoms[0], *(small,) * (len(layer.top) - 1)),
        params=learned + stored if statistics_slots(layer) else learned,
        form=form,
        channels=channels,
        uses=uses,
        momentum=momentum,
        eps=eps,
    )


def _kept(layer: LayerParameter) -> float:
    """Return what part of the statistics stays in ducha-aiki's BN.

    CTPN's copy counts the part that is new, 0.05 by default, where ducha-aiki's counts
    the part that stays, 0.95: what is above one half stays in either.
    """
    param = layer.bn_param
    if not param.moving_average:
        return 1.0
    if not 0 <= param.decay <= 1:
        raise SpecError(
            f"decay is {param.decay:g}; expected a part, from 0 to 1",
            layer=label(layer),
        )
    return float(max(param.decay, 1 - param.decay))
