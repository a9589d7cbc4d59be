"""What tests of data that programs give share."""

import numpy as np

INPUTS = {"data": (4, 1, 6, 5), "label": (4,)}
COUNT = 10


def arrays(count=COUNT, shape=(1, 6, 5)):
    rng = np.random.default_rng(3)
    x = rng.integers(0, 256, (count, *shape), dtype=np.uint8)
    return x, np.arange(count)


def read(dataset, batches):
    """Return the first batches, as lists of arrays."""
    return [list(dataset.batch(number)) for number in range(batches)]


def check_epoch(dataset, x, y, batches=3):
    """Check that one epoch has the items of x and y in order, float32."""
    found = read(dataset, batches)
    assert all(array.dtype == np.float32 for batch in found for array in batch)
    data = np.concatenate([batch[0] for batch in found])
    label = np.concatenate([batch[1] for batch in found])
    np.testing.assert_array_equal(data, x)
    np.testing.assert_array_equal(label, np.reshape(y, label.shape))


def write_images(folder, sizes=((6, 5),), mode="RGB"):
    """Write three images for each of three classes, of one colour each."""
    from PIL import Image

    for label, name in enumerate(["ant", "bee", "cat"]):
        (folder / name).mkdir(parents=True)
        for number in range(3):
            height, width = sizes[number % len(sizes)]
            value = 20 * label + number
            image = np.full((height, width, 3), (value, 100 + value, 200), np.uint8)
            Image.fromarray(image).convert(mode).save(folder / name / f"{number}.png")
