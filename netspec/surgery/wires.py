"""Who makes what each layer of a phase reads, where shapes are not known yet."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from netspec.catalogue import LAYER_TYPES
from netspec.nets.filter import kept_layers, merge_state
from netspec.schema import TEST, TRAIN, LayerParameter, NetParameter

# Layers whose outputs mix all channels of their inputs.
LEARNED = frozenset(
    ("Convolution", "Deconvolution", "Embed", "InnerProduct", "Local", "LSTM", "RNN")
)
_ENDS = frozenset(("Accuracy", "DetectionEvaluate", "HDF5Output", "Silence"))


@dataclass(frozen=True)
class End:
    """Where a net ends: a loss with its weight, or what makes an output (weight 0).

    sources: the first learned layers that are met from it on.
    """

    layer: LayerParameter
    weight: float
    sources: tuple[LayerParameter, ...]


class Wires:
    """The layers that a phase keeps; they are those of the net, not copies.

    makers: for every layer the places of those that make its bottoms.
    """

    def __init__(self, net: NetParameter, phase: int) -> None:
        self.layers = kept_layers(net, merge_state(net, phase))
        self.makers: list[list[int]] = []
        last: dict[str, int] = {}
        for place, layer in enumerate(self.layers):
            self.makers.append([last[x] for x in layer.bottom if x in last])
            last |= dict.fromkeys(layer.top, place)

    def ends(self) -> list[End]:
        """Return losses, or where there are none the layers of outputs."""
        pairs = zip(self.layers, self.makers, strict=True)
        read = {p for x, makers in pairs if x.type not in _ENDS for p in makers}
        losses, outputs = [], []
        for place, layer in enumerate(self.layers):
            row = LAYER_TYPES.get(layer.type)
            default = 1.0 if row is not None and row.auto_top else 0.0
            weight = max(map(abs, layer.loss_weight), default=default)
            if not layer.bottom or layer.type in _ENDS:
                continue
            if weight:
                losses.append(End(layer, weight, self._learned_below(place)))
            elif place not in read:
                outputs.append(End(layer, 0.0, self._learned_below(place)))
        return losses or outputs

    def _learned_below(self, end: int) -> tuple[LayerParameter, ...]:
        todo, seen, found = [end], set(), []
        while todo:
            place = todo.pop()
            if place in seen:
                continue
            seen.add(place)
            if self.layers[place].type in LEARNED:
                found.append(self.layers[place])
            else:
                todo.extend(self.makers[place])
        return tuple(found)

    def above(self, names: Collection[str]) -> Iterator[int]:
        """Yield the places of layers whose inputs get their channels from `names`."""
        wide = {p for p, layer in enumerate(self.layers) if layer.name in names}
        for place, makers in enumerate(self.makers):
            if wide.intersection(makers):
                yield place
                if self.layers[place].type not in LEARNED:
                    wide.add(place)


def wires_of(net: NetParameter) -> Sequence[Wires]:
    """Return the wires of each phase; of TEST alone where no layer has rules."""
    ruled = any(layer.include or layer.exclude for layer in net.layer)
    found = [Wires(net, phase) for phase in ((TEST, TRAIN) if ruled else (TEST,))]
    return [wires for wires in found if wires.layers]
