"""Convolution, Deconvolution and Im2col over any number of spatial axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from netspec.ops import Shape
from netspec.ops.base import count
from netspec.ops.convolution import Convolution as ConvolutionOp
from netspec.ops.convolution import Deconvolution as DeconvolutionOp
from netspec.ops.convolution import Im2col as Im2colOp
from runtime.arrays import Array, ArraySpec
from runtime.layers._windows import Columns, Windows, blocks
from runtime.layers.base import Kernel, register


@dataclass(frozen=True)
class ImageAndMaps:
    """An image and its maps, joined by windows of weights.

    A convolution goes from image to maps, a deconvolution from maps to image. The
    weights are (maps, channels / group, *kernel) for both. Images are taken `chunk` at
    a time: enough of them that the matrix products are large, few enough that their
    columns stay in the cache.

    Shapes: image (batch, channels, *sizes), maps (batch, maps, *positions).
    """

    batch: int
    channels: int
    maps: int
    group: int
    windows: Windows
    chunk: int

    @classmethod
    def of(
        cls, op: ConvolutionOp | DeconvolutionOp, block: int, enough: int
    ) -> ImageAndMaps:
        """Return those of `op`; `block` columns are worked on at a time.

        enough: positions from which the product of one image's maps is large by itself.
        """
        image, maps = op.bottoms[0], op.tops[0]
        if isinstance(op, DeconvolutionOp):
            image, maps = maps, image
        first = op.axis + 1
        windows = Windows(
            image[first:], maps[first:], op.kernel, op.stride, op.pad, op.dilation
        )
        batch, positions = count(image[: op.axis]), count(windows.positions)
        columns = max(1, image[op.axis] * count(op.kernel) * positions)
        chunk = max(1, min(batch, block // columns))
        if windows.pointwise and positions >= enough:
            chunk = 1
        chunk = -(-batch // -(-batch // chunk)) if batch else 1  # of about equal size
        return cls(batch, image[op.axis], maps[op.axis], op.group, windows, chunk)

    @property
    def direct(self) -> bool:
        """Whether an image can be used as its own columns."""
        return self.windows.pointwise and self.chunk == 1

    def arrays(self) -> dict[str, ArraySpec]:
        """Return the scratch that the products need."""
        windows, n = self.windows, self.chunk
        positions = count(windows.positions)
        kernel = (self.channels // self.group, *windows.kernel)
        specs = {"product": ArraySpec((self.maps, *kernel))}
        if not self.direct:
            size = n * self.channels * count(windows.kernel) * positions
            specs["columns"] = ArraySpec((size,))
        if any(windows.pad):
            specs["padded"] = ArraySpec((n, self.channels, *windows.padded))
        if n > 1:
            specs["maps"] = ArraySpec((n * self.maps * positions,))
        return specs


class _Chunk:
    """The views of a run of images.

    columns (G, CKK / G, n L) and flat maps (G, O / G, n L) are what the matrix products
    see. For one image the maps are the blob's own memory; for several they are a copy
    with the images side by side.
    """

    def __init__(
        self, kernel: Kernel, shapes: ImageAndMaps, image: Array, maps: Array, at: slice
    ) -> None:
        self._xp = kernel.xp
        windows, work, group = shapes.windows, kernel.work, shapes.group
        image, maps = image[at], maps[at]
        n, positions = len(image), count(windows.positions)
        channels = shapes.channels // group
        if shapes.direct:
            self.columns = image.reshape(group, channels, positions)
            self._unfolded = None
        else:
            taken = n * shapes.channels * count(windows.kernel) * positions
            columns = work["columns"][:taken]
            rows = channels * count(windows.kernel)
            self.columns = columns.reshape(group, rows, n * positions)
            columns = columns.reshape(
                shapes.channels, *windows.kernel, n, *windows.positions
            )  # (C, K..., n, L...)
            by_image = kernel.xp.moveaxis(columns, len(windows.kernel) + 1, 0)
            padded = work["padded"][:n] if "padded" in work else None
            self._unfolded = Columns(kernel.xp, windows, image, by_image, padded)
        self.own = maps  # (n, O, L...)
        if shapes.chunk == 1:
            self.flat = maps.reshape(group, shapes.maps // group, positions)
            self._beside = None
        else:
            flat = work["maps"][: n * shapes.maps * positions]
            self.flat = flat.reshape(group, shapes.maps // group, n * positions)
            self._beside = flat.reshape(shapes.maps, n, *windows.positions).swapaxes(
                0, 1
            )
        self.by_position = self.columns.swapaxes(1, 2)

    def gather(self) -> None:
        if self._unfolded is not None:
            self._unfolded.gather()

    def spread(self) -> None:
        if self._unfolded is not None:
            self._unfolded.spread()

    def fetch(self) -> None:
        if self._beside is not None:
            self._xp.copyto(self._beside, self.own)

    def store(self, bias: Array | None) -> None:
        source = self.own if self._beside is None else self._beside
        if bias is not None:
            self._xp.add(source, bias, out=self.own)
        elif self._beside is not None:
            self._xp.copyto(self.own, source)


class _Products:
    """The three products of one image blob and one maps blob."""

    def __init__(
        self, kernel: Kernel, shapes: ImageAndMaps, image: Array, maps: Array
    ) -> None:
        self._backend, self._xp = kernel.backend, kernel.xp
        windows, batch, group = shapes.windows, shapes.batch, shapes.group
        image = image.reshape(batch, shapes.channels, *windows.sizes)
        maps = maps.reshape(batch, shapes.maps, *windows.positions)
        self._chunks = [
            _Chunk(kernel, shapes, image, maps, at)
            for at in blocks(batch, shapes.chunk)
        ]
        self._images = [image[at] for at in blocks(batch, shapes.chunk)]
        weights = kernel.params[0]
        columns = shapes.channels // group * count(shapes.windows.kernel)
        self._weights = weights.reshape(group, shapes.maps // group, columns)
        self._transposed = self._weights.swapaxes(1, 2)
        self._product = kernel.work["product"].reshape(self._weights.shape)

    def to_maps(self, bias: Array | None) -> None:
        """Make the maps: weights * image, plus a bias (O, 1...)."""
        for chunk in self._chunks:
            chunk.gather()
            self._xp.matmul(self._weights, chunk.columns, out=chunk.flat)
            chunk.store(bias)

    def to_image(self, bias: Array | None) -> None:
        """Make the image: the transposed product, plus a bias (C, 1...)."""
        for chunk, image in zip(self._chunks, self._images, strict=True):
            chunk.fetch()
            self._xp.matmul(self._transposed, chunk.flat, out=chunk.columns)
            chunk.spread()
            if bias is not None:
                self._xp.add(image, bias, out=image)

    def to_weights(self, out: Array, accumulate: bool) -> None:
        """Store the gradient of the weights into `out`, or add it."""
        out = out.reshape(self._weights.shape)
        for chunk in self._chunks:
            chunk.gather()
            chunk.fetch()
            self._backend.gemm(
                chunk.flat,
                chunk.by_position,
                out,
                accumulate=accumulate,
                scratch=self._product,
            )
            accumulate = True


class _Conv(Kernel):
    """What both directions share: chunks, bias and its gradient."""

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for columns and what goes with them, and for sums of channels."""
        # Columns are written and read once a product: larger blocks pay than elsewhere.
        backend = self.backend
        self._shapes = ImageAndMaps.of(
            self.op, backend.block_elements * 8, backend.enough_positions
        )
        sums = self.backend.channel_scratch(self._by_channel)
        return {**self._shapes.arrays(), "sums": sums}

    @property
    def _by_channel(self) -> Shape:
        top, axis = self.op.tops[0], self.op.axis
        return (count(top, 0, axis), top[axis], count(top, axis + 1))

    def setup(self) -> None:
        """Make the views of every pair of a bottom and a top."""
        ones = (1,) * len(self.op.kernel)
        self._bias = None
        if self.op.bias_term:
            self._bias = self.params[1].reshape(-1, *ones)
        self._dbias = self.dparams[1] if self.op.bias_term else None
        self._dtops = [
            None if dy is None else dy.reshape(self._by_channel) for dy in self.dtops
        ]
        learned = self.dparams[0] is not None
        self._forward = [
            self._pair(x, y) for x, y in zip(self.bottoms, self.tops, strict=True)
        ]
        self._weight_pairs = [
            self._pair(x, dy) if learned and dy is not None else None
            for x, dy in zip(self.bottoms, self.dtops, strict=True)
        ]
        self._bottom_pairs = [
            None if dx is None or dy is None else self._pair(dx, dy)
            for dx, dy in zip(self.dbottoms, self.dtops, strict=True)
        ]

    def _pair(self, x: Array, y: Array) -> _Products:
        image, maps = self._sides(x, y)
        return _Products(self, self._shapes, image, maps)

    def _sides(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Return which of a bottom and a top is the image, and which the maps."""
        raise NotImplementedError

    def _backward(self, pair: _Products) -> None:
        """Compute the gradient of one bottom."""
        raise NotImplementedError

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Compute the wanted gradients; several tops add up in the parameters'."""
        add_bias = accumulate[1] if self.op.bias_term else False
        for index, dy in enumerate(self._dtops):
            pair = self._weight_pairs[index]
            if pair is not None:
                pair.to_weights(self.dparams[0], accumulate[0] or index > 0)
            if self._dbias is not None and dy is not None:
                self.backend.channel_sum(
                    dy,
                    self._dbias,
                    self.work["sums"],
                    accumulate=add_bias or index > 0,
                )
            pair = self._bottom_pairs[index]
            if pair is not None:
                self._backward(pair)


@register
class Convolution(_Conv):
    """Correlate the input with windows of weights.

        y[n, o, p] = b[o] + sum over c, k of w[o, c, k] x[n, c, at(p, k)]
        at(p, k) = stride p + dilation k - pad

    The windows are written out as columns, so that each product is a matrix product:
    y = w cols, dw = dy cols^T, dcols = w^T dy. Columns are made anew in backward, as
    keeping them would take more memory than all blobs.

    Shapes: x (N, C, H, W) -> y (N, O, H', W'), w (O, C / group, kh, kw), b (O,),
    H' = floor((H + 2 pad - extent) / stride) + 1, extent = dilation (kh - 1) + 1.
    """

    types = ("Convolution", "DepthwiseConvolution", "ConvolutionDepthwise")
    op: ConvolutionOp

    def _sides(self, x: Array, y: Array) -> tuple[Array, Array]:
        return x, y

    def forward(self) -> None:
        """Compute every top."""
        for pair in self._forward:
            pair.to_maps(self._bias)

    def _backward(self, pair: _Products) -> None:
        pair.to_image(None)


@register
class Deconvolution(_Conv):
    """The transpose of a convolution: every input value adds a scaled window to y.

        y[n, o, at(p, k)] += sum over c of w[c, o, k] x[n, c, p]
        at(p, k) = stride p + dilation k - pad

    What a convolution does backward happens forward here, and the other way round.

    Shapes: x (N, C, H, W) -> y (N, O, H', W'), w (C, O / group, kh, kw), b (O,),
    H' = stride (H - 1) + extent - 2 pad.
    """

    types = ("Deconvolution",)
    op: DeconvolutionOp

    def _sides(self, x: Array, y: Array) -> tuple[Array, Array]:
        return y, x

    def forward(self) -> None:
        """Compute every top."""
        for pair in self._forward:
            pair.to_image(self._bias)

    def _backward(self, pair: _Products) -> None:
        pair.to_maps(None)


@register
class Im2col(Kernel[Im2colOp]):
    """The windows of a convolution written out as channels.

        y[n, (c, k), p] = x[n, c, stride p + dilation k - pad], or 0 in the padding

    Shapes: x (N, C, H, W) -> y (N, C kh kw, H', W'), sizes as in Convolution.
    """

    types = ("Im2col",)

    @property
    def _windows(self) -> Windows:
        op, first = self.op, self.op.axis + 1
        sizes, positions = op.bottoms[0][first:], op.tops[0][first:]
        return Windows(sizes, positions, op.kernel, op.stride, op.pad, op.dilation)

    @property
    def _images(self) -> Shape:
        return (count(self.op.bottoms[0], 0, self.op.axis), self.op.channels)

    def arrays(self) -> dict[str, ArraySpec]:
        """Room for the padded images."""
        if not any(self.op.pad):
            return {}
        return {"padded": ArraySpec((*self._images, *self._windows.padded))}

    def setup(self) -> None:
        """View the tops as columns."""
        self._forward = self._columns(self.x, self.y)
        if self.dx is not None:
            self._backward = self._columns(self.dx, self.dy)

    def _columns(self, x: Array, y: Array) -> Columns:
        windows, images = self._windows, self._images
        image = x.reshape(*images, *windows.sizes)
        columns = y.reshape(*images, *windows.kernel, *windows.positions)
        return Columns(self.xp, windows, image, columns, self.work.get("padded"))

    def forward(self) -> None:
        """Copy the windows."""
        self._forward.gather()

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Add the windows up."""
        if self.dx is not None:
            self._backward.spread()
