"""Images of drawn shapes in sizes of all kinds, with their true boxes."""

import caffe
import numpy as np

from rpn import boxes


class DrawnShapesLayer(caffe.Layer):
    """Bright rectangles (class 1) and discs (class 2) on a dark, noisy ground.

    Image i is a function of i and `seed`, and comes again after `images` of them. Its
    sides are multiples of `step` from `least` to `largest` pixels.

    Tops: the image (1, 3, H, W), im_info (1, 3) of height, width and scale 1, and true
    boxes (G, 5) of corners and class.
    """

    def setup(self, bottom, top):
        self._options = boxes.options(
            self, images=100, seed=0, least=64, largest=128, step=16, shapes=3
        )
        self._next = 0
        top[1].reshape(1, 3)

    def reshape(self, bottom, top):
        image, truth = self._draw(self._next % self._options["images"])
        top[0].reshape(1, *image.shape)
        top[2].reshape(*truth.shape)
        self._image, self._truth = image, truth

    def forward(self, bottom, top):
        top[0].data[0] = self._image
        top[1].data[0] = [*self._image.shape[1:], 1]
        top[2].data[...] = self._truth
        self._next += 1

    def _draw(self, number):
        options = self._options
        random = np.random.default_rng([options["seed"], number])
        step = options["step"]
        least, largest = options["least"] // step, options["largest"] // step
        height, width = random.integers(least, largest + 1, 2) * step
        image = random.normal(0, 0.1, (3, height, width))
        y, x = np.mgrid[:height, :width]
        truth = []
        for _ in range(random.integers(1, options["shapes"] + 1)):
            side = random.integers(16, min(height, width) // 2 + 1, 2)
            kind = int(random.integers(1, 3))
            if kind == 2:
                side[:] = side.min()
            left = int(random.integers(0, width - side[0] + 1))
            top = int(random.integers(0, height - side[1] + 1))
            box = np.array([left, top, left + side[0] - 1, top + side[1] - 1])
            if truth and boxes.overlaps(box[None], np.array(truth)).max() > 0:
                continue
            inside = (x >= left) & (x <= box[2]) & (y >= top) & (y <= box[3])
            if kind == 2:
                centre = (box[:2] + box[2:]) / 2
                far = (x - centre[0]) ** 2 + (y - centre[1]) ** 2
                inside &= far <= (side[0] / 2) ** 2
            image[:, inside] += random.uniform(0.7, 1.3, (3, 1))
            truth.append([*box, kind])
        return image, np.array(truth, float)

    def backward(self, top, propagate_down, bottom):
        pass
