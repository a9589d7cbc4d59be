"""Random nets of towers that a Concat joins."""

from __future__ import annotations

import random

from tests.backends.cpu.test_inference import OPTIONS, TYPES, layer


class Towers:
    """A random net of Concat layers over what several kinds of layers compute.

    Bottoms are read by others too, given twice, joined twice, or in place.
    """

    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        self.count = 0
        self.shape = (rng.randint(2, 9), rng.randint(3, 14), rng.randint(3, 14))
        self.images = rng.choice([1, 1, 2, 3])
        dims = " ".join(f"dim: {size}" for size in (self.images, *self.shape))
        self.text = (
            'layer { name: "x" type: "Input" top: "x" '
            f"input_param {{ shape {{ {dims} }} }} }}\n"
        )
        self.channels = {"x": self.shape[0]}
        last = "x"
        for _ in range(rng.randint(1, 3)):
            last = self.joined(last)
            if rng.random() < 0.5:
                last = self.add(rng.choice(["ReLU", "Scale"]), [last])
        self.last = self.add("Pooling", [last], "pooling_param { kernel_size: 1 }")

    def add(self, kind: str, bottoms: list[str], options: str | None = None) -> str:
        """Add a layer, which may be in place; returns its top."""
        self.count += 1
        can = kind in OPTIONS or kind == "PReLU"
        over = can and bottoms[0] != "x" and self.rng.random() < 0.6
        top = bottoms[0] if over else f"b{self.count}"
        given = OPTIONS.get(kind, "") if options is None else options
        kind = TYPES.get(kind, kind)
        self.text += layer(kind, f"l{self.count}", bottoms, top, given)
        self.channels[top] = self.channels[bottoms[0]]
        return top

    def convolution(self, below: str, kernel: int = 0) -> str:
        rng = self.rng
        size = kernel or rng.choice([1, 3, 5])
        own = self.channels[below]
        channels = rng.choice([1, 7, 16, 20, own])
        group = own if channels == own and rng.random() < 0.4 else 1
        kind = rng.choice([*["Convolution"] * 3, "Deconvolution"])
        top = self.add(
            kind,
            [below],
            f"convolution_param {{ num_output: {channels} kernel_size: {size} "
            f"pad: {size // 2} group: {group} "
            'weight_filler { type: "gaussian" std: 0.2 } }',
        )
        self.channels[top] = channels
        kinds = ["BatchNorm", "Scale", "Bias", "ReLU", "PReLU"]
        for one in [one for one in kinds if rng.random() < 0.3]:
            top = self.add(one, [top])
        return top

    def pooling(self, below: str) -> str:
        kind, size = self.rng.choice(["MAX", "MAX", "AVE"]), self.rng.choice([3, 3, 5])
        options = f"pool: {kind} kernel_size: {size} stride: 1 pad: {size // 2}"
        return self.add("Pooling", [below], f"pooling_param {{ {options} }}")

    def tower(self, below: str, depth: int) -> str:
        rng = self.rng
        drawn = rng.random()
        if drawn < 0.15:
            return below  # which the others read too
        if drawn < 0.3:
            return self.pooling(below)
        if drawn < 0.5 and depth < 2:
            return self.joined(below, depth + 1)
        top = self.convolution(below)
        if rng.random() < 0.2:
            other = self.convolution(top, kernel=1)
            if self.channels[other] == self.channels[top]:
                return self.add("Eltwise", [other, top])
        return top

    def joined(self, below: str, depth: int = 0) -> str:
        rng = self.rng
        bottoms = [self.tower(below, depth) for _ in range(rng.randint(1, 4))]
        if rng.random() < 0.1:
            bottoms.append(bottoms[0])
        across = {self.channels[one] for one in bottoms}
        axis = rng.choice([0, 1, 2, 3]) if len(across) == 1 and depth == 0 else 1
        top = self.add("Concat", bottoms, f"concat_param {{ axis: {axis} }}")
        if axis == 1:
            self.channels[top] = sum(self.channels[one] for one in bottoms)
        return top

    @property
    def blobs(self) -> list[str]:
        """The names of the blobs that layers compute."""
        return [name for name in self.channels if name != "x"]
