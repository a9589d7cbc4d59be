"""Layers in Python as people write them for training: data, losses, learned ones."""

from __future__ import annotations

import json

import numpy as np

from runtime import Layer

W = np.array([[1.5, -2.0, 0.5], [0.25, 1.0, -1.0]])
B = np.array([0.5, -0.75])
COLOURS = np.array([[1.0, 0.1, 0.1], [0.1, 1.0, 0.1], [0.1, 0.1, 1.0]])


class Points(Layer):
    """x drawn anew in every pass, and y = W x + B."""

    def setup(self, bottom, top):
        self.rng = np.random.default_rng(3)
        top[0].reshape(16, 3)
        top[1].reshape(16, 2)

    def forward(self, bottom, top):
        x = self.rng.normal(size=(16, 3))
        top[0].data[...] = x
        top[1].data[...] = x @ W.T + B


class EuclideanLoss(Layer):
    """Half the mean squared distance."""

    def setup(self, bottom, top):
        if len(bottom) != 2:
            raise ValueError("needs two inputs")

    def reshape(self, bottom, top):
        self.difference = np.zeros_like(bottom[0].data)
        top[0].reshape(1)

    def forward(self, bottom, top):
        self.difference[...] = bottom[0].data - bottom[1].data
        top[0].data[...] = np.sum(self.difference**2) / bottom[0].num / 2.0

    def backward(self, top, propagate_down, bottom):
        for place, sign in ((0, 1), (1, -1)):
            if propagate_down[place]:
                bottom[place].diff[...] = sign * self.difference / bottom[place].num


class MultilabelImages(Layer):
    """Images of a folder, some of three colours in each, and which colours they are."""

    def setup(self, bottom, top):
        options = json.loads(self.param_str)
        with np.load(options["source"]) as file:
            self.images, self.labels = file["images"], file["labels"]
        self.batch, self.place = options["batch_size"], 0
        top[0].reshape(self.batch, *self.images.shape[1:])
        top[1].reshape(self.batch, 3)

    def forward(self, bottom, top):
        for item in range(self.batch):
            top[0].data[item, ...] = self.images[self.place]
            top[1].data[item, ...] = self.labels[self.place]
            self.place = (self.place + 1) % len(self.images)


def multilabel_images(count, seed=0):
    """Pictures with a block of each colour whose label is 1, at a random place."""
    rng = np.random.default_rng(seed)
    labels = rng.random((count, 3)) < 0.5
    images = rng.random((count, 3, 9, 8)) * 0.2
    for image, label in zip(images, labels, strict=True):
        for colour in np.flatnonzero(label):
            y, x = rng.integers(0, 6), rng.integers(0, 5)
            image[:, y : y + 3, x : x + 3] = COLOURS[colour][:, None, None]
    return images, labels


class Segments(Layer):
    """One picture a pass, each of its own size, and a class for every pixel."""

    def setup(self, bottom, top):
        self.rng = np.random.default_rng(5)

    def reshape(self, bottom, top):
        height, width = self.rng.integers(9, 15, 2)
        self.data = self.rng.normal(size=(1, 1, height, width))
        self.data += np.sign(self.data) * 0.3
        top[0].reshape(*self.data.shape)
        top[1].reshape(1, 1, height, width)

    def forward(self, bottom, top):
        top[0].data[...] = self.data
        top[1].data[...] = self.data > 0

    def backward(self, top, propagate_down, bottom):
        pass


class Swish(Layer):
    """y = x / (1 + exp(-w x)), w learned for each channel."""

    def setup(self, bottom, top):
        self.blobs.add_blob(bottom[0].channels)
        self.blobs[0].data[...] = 0.5

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        self.gate = 1 / (1 + np.exp(-self.blobs[0].data * bottom[0].data))
        top[0].data[...] = bottom[0].data * self.gate

    def backward(self, top, propagate_down, bottom):
        x, dy, w = bottom[0].data, top[0].diff, self.blobs[0]
        slope = self.gate * (1 - self.gate)
        w.diff[...] += (dy * x * x * slope).sum(0)
        if propagate_down[0]:
            bottom[0].diff[...] = dy * (self.gate + x * w.data * slope)


class ContrastiveLoss(Layer):
    """Hadsell and others, 2006, as Caffe's layer of that name."""

    def setup(self, bottom, top):
        self.margin = float(self.param_str)

    def reshape(self, bottom, top):
        top[0].reshape(1)

    def forward(self, bottom, top):
        self.difference = bottom[0].data - bottom[1].data
        self.distance = np.sqrt((self.difference**2).sum(1))
        near = bottom[2].data.reshape(-1)
        far = np.maximum(self.margin - self.distance, 0) ** 2
        loss = (near * self.distance**2 + (1 - near) * far).sum()
        top[0].data[0] = loss / bottom[0].num / 2

    def backward(self, top, propagate_down, bottom):
        near = bottom[2].data.reshape(-1)
        push = np.maximum(self.margin - self.distance, 0) / (self.distance + 1e-4)
        scale = np.where(near == 1, 1.0, -push) * top[0].diff[0] / bottom[0].num
        for place, sign in ((0, 1), (1, -1)):
            if propagate_down[place]:
                bottom[place].diff[...] = sign * scale[:, None] * self.difference
