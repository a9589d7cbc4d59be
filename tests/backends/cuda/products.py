"""Random products for tests: arrays as they lie in memory, and results in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from runtime.backends.cuda.machine.device import Device
from runtime.backends.cuda.machine.products import Product, product_of
from runtime.backends.cuda.storage import from_bits, to_bits

# Half of the distance from 1 to the next number.
EPSILON = {"float32": 2.0**-24, "bfloat16": 2.0**-8, "float16": 2.0**-11}

Cut = Callable[[np.ndarray], np.ndarray]


def layout(shape: tuple[int, ...], rows: bool, pad: int, gap: int) -> tuple[int, Cut]:
    """Return the elements of a memory, and how an array of `shape` is cut from it.

    Its rows, or else its columns, are contiguous; `pad` elements lie between them, and
    `gap` rows between the matrices of a batch.
    """
    *lead, m, n = shape
    inner, outer = (n, m) if rows else (m, n)
    whole = (*lead, outer + gap, inner + pad)

    def cut(memory: np.ndarray) -> np.ndarray:
        matrices = memory.reshape(whole)[..., :outer, pad // 2 : pad // 2 + inner]
        return matrices if rows else matrices.swapaxes(-1, -2)

    return int(np.prod(whole)), cut


class Example:
    """A product with arrays of random numbers, and what it must give.

    shape: m, n, k. lead: leading axes of the result. a_lead, b_lead: those of a and b.
    """

    def __init__(
        self,
        seed: int,
        shape: tuple[int, int, int],
        *,
        a_rows: bool = True,
        b_rows: bool = True,
        lead: tuple[int, ...] = (),
        a_lead: tuple[int, ...] | None = None,
        b_lead: tuple[int, ...] | None = None,
        pads: tuple[int, int, int] = (0, 0, 0),
        gap: int = 0,
        storage: str = "float32",
        out: str = "float32",
        **options,
    ) -> None:
        rng = np.random.default_rng(seed)
        m, n, k = shape
        shapes = {
            "a": ((*(lead if a_lead is None else a_lead), m, k), a_rows, pads[0]),
            "b": ((*(lead if b_lead is None else b_lead), k, n), b_rows, pads[1]),
            "out": ((*lead, m, n), True, pads[2]),
        }
        self.storages = {"a": storage, "b": storage, "out": out}
        self.arrays, self.memories, numbers = {}, {}, {}
        for name, (size, rows, pad) in shapes.items():
            elements, cut = layout(size, rows, pad, gap)
            drawn = rng.standard_normal(elements, dtype=np.float32)
            memory = to_bits(drawn, self.storages[name])
            self.arrays[name], self.memories[name] = cut(memory), memory
            numbers[name] = np.float64(cut(from_bits(memory, self.storages[name])))
            if name == "out":
                self.memory, self.before = memory, memory.copy()
                self.beside = np.ones(elements, bool)
                cut(self.beside)[...] = False
        if options.get("epilogue", "").startswith("bias"):
            self.arrays["bias"] = to_bits(rng.standard_normal(n, dtype=np.float32), out)
            self.memories["bias"] = self.arrays["bias"]
            numbers["bias"] = np.float64(from_bits(self.arrays["bias"], out))
        self.product: Product = product_of(
            self.arrays["a"],
            self.arrays["b"],
            self.arrays["out"],
            storage=storage,
            out_storage=out,
            **{"alignment": 1, **options},
        )
        sums = numbers["a"] @ numbers["b"]
        self.between = np.zeros_like(sums)  # the largest of what may be rounded first
        if self.product.beta:
            added = sums + numbers["out"]
            self.between = np.maximum(np.abs(sums), np.abs(added))
            sums = added
        if "bias" in numbers:
            sums = sums + numbers["bias"]
        relu = self.product.epilogue.endswith("relu")
        self.wanted = np.where(sums < 0, 0, sums) if relu else sums
        self.scale = np.abs(numbers["a"]) @ np.abs(numbers["b"]) + 6

    @property
    def addresses(self) -> dict[str, int]:
        return {
            name: array.__array_interface__["data"][0]
            for name, array in self.arrays.items()
        }

    def run_on(self, device: Device, dirt: int = 255) -> None:
        """Compute on a device, from `self.before`; `dirt` fills the workspace."""
        self.memory[...] = self.before
        memories, addresses = {}, {}
        for name, host in self.memories.items():
            memories[name] = device.zeros(host.shape, str(host.dtype))
            device.upload(host, memories[name])
            offset = self.addresses[name] - host.__array_interface__["data"][0]
            addresses[name] = device.address(memories[name]) + offset
        planned = device.product(self.product)
        workspace = device.zeros((planned.workspace_bytes + 256,), "uint8")
        device.upload(np.full(workspace.shape, dirt, np.uint8), workspace)
        device.synchronize()
        device.enter()
        start = -(-device.address(workspace) // 256) * 256
        planned.run(addresses, start, device.stream)
        device.download(memories["out"], self.memory)

    def check(self, *, on_device: bool = False) -> None:
        """The result is right but for rounding, and nothing beside it was written.

        Where something is added to a result of halves, cuBLASLt 13 rounds to halves
        twice: the sums before `out` is added, or with it before the bias is.
        """
        out = self.product.out
        got = from_bits(self.arrays["out"], out)
        bound = EPSILON[out] * np.abs(self.wanted) * 1.01
        if on_device and out != "float32":
            bound += EPSILON[out] * self.between * 1.01
        bound += EPSILON["float32"] * self.scale * (self.product.k + 3)
        if self.product.tf32:  # both factors lose all but 10 bits
            bound += 2.0**-9 * self.scale
        np.testing.assert_array_less(np.abs(got - self.wanted), bound)
        np.testing.assert_array_equal(
            self.memory[self.beside], self.before[self.beside]
        )


def random_example(seed: int) -> Example:
    """Return one with everything drawn."""
    rng = np.random.default_rng(1000 + seed)
    storage = rng.choice(["float32", "bfloat16", "float16"])
    lead = [(), (3,), (2, 3)][rng.integers(3)]
    shared = rng.integers(4)
    return Example(
        seed,
        tuple(int(size) for size in rng.integers(1, 12, 3)),
        a_rows=bool(rng.integers(2)),
        b_rows=bool(rng.integers(2)),
        lead=lead,
        a_lead=() if shared == 1 else lead,
        b_lead=(1,) if shared == 2 and lead else lead,
        pads=tuple(int(pad) for pad in rng.integers(0, 4, 3)),
        gap=int(rng.integers(2)),
        storage=str(storage),
        out=str(rng.choice(["float32", storage])),
        beta=float(rng.integers(2)),
        epilogue=str(rng.choice(["", "bias", "relu", "bias_relu"])),
    )
