"""Layers in Python that give the same detections and true boxes every time."""

import numpy as np

from runtime import Layer

FOUND = [(0, 1, 0.9, 0.5, 0.5, 0.7, 0.7), (0, 1, 0.5, 0.1, 0.1, 0.3, 0.3)]
TRUTH = [
    (0, 1, 0, 0.1, 0.1, 0.3, 0.3, 0),
    (0, 1, 1, 0.8, 0.8, 0.9, 0.9, 1),
    (0, 2, 0, 0.1, 0.1, 0.3, 0.3, 0),
]


class Found(Layer):
    rows = np.array([[FOUND]])

    def reshape(self, bottom, top):
        top[0].reshape(*self.rows.shape)

    def forward(self, bottom, top):
        top[0].data[...] = self.rows

    def backward(self, top, propagate_down, bottom):
        pass


class Truth(Found):
    rows = np.array([[TRUTH]])
