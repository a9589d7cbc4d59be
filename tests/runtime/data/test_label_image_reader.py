"""Images with labels of their pixels: both are cut and mirrored together."""

import numpy as np
import pytest

import runtime
from netspec.errors import FileError, SpecError
from netspec.schema import TEST, TRAIN
from runtime.data import open_source
from runtime.data.images import resize
from tests.runtime.data.common import batches, layer

Image = pytest.importorskip("PIL.Image")

SIZES = [(12, 17), (12, 17), (9, 20)]
KINDS = {
    "DenseImageData": "dense_image_data_param",
    "ImageSegData": "image_data_param",
    "ImageLabelmapData": "image_data_param",
}


def picture(number):
    """An image whose pixels tell their place, so that labels can be compared."""
    height, width = SIZES[number]
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 9, columns * 9, np.full(rows.shape, number * 50)]).astype(
        np.uint8
    )


def labels_of(number):
    height, width = SIZES[number]
    rows, columns = np.mgrid[:height, :width]
    return ((rows + 2 * columns + number) % 7).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    lines = []
    for number in range(len(SIZES)):
        rgb = np.ascontiguousarray(picture(number)[::-1].transpose(1, 2, 0))
        Image.fromarray(rgb).save(tmp_path / f"{number}.png")
        Image.fromarray(labels_of(number)).save(tmp_path / f"{number}_l.png")
        lines.append(f"{number}.png {number}_l.png")
    (tmp_path / "list").write_text("\n".join(lines))
    return tmp_path


def data_layer(folder, kind, more="", transform="", tops=2):
    names = " ".join(f'top: "{name}"' for name in ("x", "t", "s")[:tops])
    pixel = kind == "ImageSegData" and "label_type" not in more
    more += " label_type: PIXEL" if pixel else ""
    return layer(
        f'type: "{kind}" {names} {KINDS[kind]} {{ source: "{folder}/list" '
        f'root_folder: "{folder}/" {more} }} transform_param {{ {transform} }}'
    )


def found(folder, kind, more="", transform="", tops=2, count=3, phase=TRAIN, seed=1):
    source = open_source(data_layer(folder, kind, more, transform, tops), phase, seed)
    try:
        return batches(source, count)
    finally:
        source.close()


def assert_together(images, labels):
    """Every label is that of the pixel that the image shows there."""
    for image, label in zip(images, labels, strict=True):
        rows, columns = image[0] / 9, image[1] / 9
        which = image[2] / 50
        np.testing.assert_array_equal(label[0], (rows + 2 * columns + which) % 7)


@pytest.mark.parametrize("kind", ["DenseImageData", "ImageSegData"])
def test_every_image_comes_with_its_labels(folder, kind):
    source = open_source(data_layer(folder, kind, "batch_size: 1"), TEST, 0)
    assert source.varies
    for number in (0, 1, 2, 0):
        assert source.next_shapes() == ((1, 3, *SIZES[number]), (1, 1, *SIZES[number]))
        images, labels = source.next()
        np.testing.assert_array_equal(images[0], picture(number))
        np.testing.assert_array_equal(labels[0, 0], labels_of(number))
    source.close()


@pytest.mark.parametrize("kind", ["DenseImageData", "ImageSegData"])
@pytest.mark.parametrize("crop", ["crop_size: 8", "crop_height: 7 crop_width: 11"])
def test_both_are_cut_and_mirrored_alike(folder, kind, crop):
    text = crop + " mirror: true"
    seen = set()
    for images, labels in found(folder, kind, "batch_size: 4", text, count=5):
        assert images.shape[2:] == labels.shape[2:]
        assert_together(images, labels)
        seen |= {image[:2, 0, 0].tobytes() for image in images}
        seen |= {bool(image[1, 0, 0] > image[1, 0, -1]) for image in images}
    assert {True, False} <= seen
    assert len(seen) > 10
    again = found(folder, kind, "batch_size: 4", text, count=5)
    np.testing.assert_array_equal(again[-1][0], images)


def test_mean_and_scale_are_the_images_alone(folder):
    plain = found(folder, "DenseImageData")
    text = "mean_value: 5 mean_value: 6 mean_value: 7 scale: 0.5"
    for (image, label), (one, same) in zip(
        plain, found(folder, "DenseImageData", "", text), strict=True
    ):
        means = np.array([5, 6, 7]).reshape(3, 1, 1)
        np.testing.assert_allclose(one[0], (image[0] - means) / 2)
        np.testing.assert_array_equal(same, label)


@pytest.mark.parametrize("kind", ["DenseImageData", "ImageSegData"])
def test_labels_are_resized_by_their_nearest_pixel(folder, kind):
    text = "new_height: 6 new_width: 34 batch_size: 3"
    ((images, labels),) = found(folder, kind, text, count=1)
    for number, (height, width) in enumerate(SIZES):
        rows = [int(place * height / 6) for place in range(6)]
        columns = [int(place * width / 34) for place in range(34)]
        wanted = labels_of(number)[np.ix_(rows, columns)]
        np.testing.assert_array_equal(labels[number, 0], wanted)
        np.testing.assert_array_equal(images[number], resize(picture(number), 6, 34))


def test_options_of_segnet_and_enet(folder):
    text = "batch_size: 4 mirror: true crop_height: 5 crop_width: 6 shuffle: true"
    images, labels = found(folder, "DenseImageData", text, count=1)[0]
    assert images.shape == (4, 3, 5, 6)
    assert_together(images, labels)
    ((_, halves),) = found(
        folder, "DenseImageData", "label_divide_factor: 2 is_color: false", count=1
    )
    np.testing.assert_array_equal(halves[0, 0], labels_of(0) // 2)


def test_edges_are_gray_from_the_middle_on(folder):
    gray = np.arange(12 * 17, dtype=np.uint8).reshape(12, 17)
    Image.fromarray(gray).save(folder / "0_l.png")
    ((_, labels),) = found(folder, "ImageLabelmapData", count=1)
    np.testing.assert_array_equal(labels[0, 0], gray >= 128)


def test_sizes_are_those_within_the_crop(folder):
    found_sizes = found(
        folder, "ImageSegData", "batch_size: 3", "crop_size: 15", tops=3, count=1
    )[0]
    images, labels, sizes = found_sizes
    assert sizes.shape == (3, 1, 1, 2)
    np.testing.assert_array_equal(sizes[:, 0, 0], [[12, 15], [12, 15], [9, 15]])
    assert (labels[:2, 0, 12:] == 255).all()
    assert (labels[2, 0, 9:] == 255).all()
    assert (images[2, :, 9:] == 0).all()
    assert_together(images[:2, :, :12], labels[:2, :, :12])


def test_a_border_has_the_mean_and_the_ignored_label(folder):
    text = "crop_size: 20 mean_value: 3 mean_value: 4 mean_value: 5"
    images, labels = found(folder, "ImageSegData", "ignore_label: 77", text, count=1)[0]
    assert (images[0, :, 12:] == 0).all()
    assert (images[0, :, :, 17:] == 0).all()
    assert (labels[0, 0, 12:] == 77).all()
    np.testing.assert_array_equal(labels[0, 0, :12, :17], labels_of(0))


def test_one_of_the_scales_is_drawn(folder):
    text = "scale_factors: 0.5 scale_factors: 1 scale_factors: 2"
    every = found(folder, "ImageSegData", "", text, count=30)
    sizes = [images.shape[2:] for images, _ in every]
    assert set(sizes[::3]) == {(6, 8), (12, 17), (24, 34)}


def test_labels_of_a_whole_image_and_none(folder):
    (folder / "list").write_text("0.png 4\n1.png -1\n")
    layers = "label_type: IMAGE batch_size: 2"
    ((_, labels),) = found(folder, "ImageSegData", layers, count=1)
    assert [set(one.ravel()) for one in labels] == [{4}, {-1}]
    (folder / "list").write_text("0.png\n1.png 4\n")
    ((_, labels),) = found(folder, "ImageSegData", "label_type: NONE", count=1)
    assert (labels == 255).all()


def test_a_palette_holds_the_labels(folder):
    indexed = Image.fromarray(labels_of(0))
    indexed.putpalette([200, 10, 10, 10, 200, 10, 10, 10, 200] * 3)
    assert indexed.mode == "P"
    indexed.save(folder / "0_l.png")
    ((_, labels),) = found(folder, "DenseImageData", count=1)
    np.testing.assert_array_equal(labels[0, 0], labels_of(0))


def test_a_net_trains_on_images_of_different_sizes(folder, backend):
    net = f"""
    layer {{ name: "d" type: "DenseImageData" top: "x" top: "t"
            dense_image_data_param {{
                source: "{folder}/list" root_folder: "{folder}/" }}
            transform_param {{ scale: 0.01 }} }}
    layer {{ name: "c" type: "Convolution" bottom: "x" top: "y" convolution_param {{
            num_output: 7 kernel_size: 3 pad: 1 weight_filler {{ type: "xavier" }} }} }}
    layer {{ name: "l" type: "SoftmaxWithLoss" bottom: "y" bottom: "t" top: "l"
            loss_param {{ weight_by_label_freqs: true }} }}
    """
    text = f'base_lr: 0.1 lr_policy: "fixed" net_param {{ {net} }}'
    solver = runtime.get_solver(text, backend=backend.name)
    solver.step(4)
    assert solver.net.blobs["x"].data.shape == (1, 3, 12, 17)
    assert all(np.isfinite(record.loss) for record in solver.history.train)
    solver.close()


@pytest.mark.parametrize(
    ("kind", "more", "transform", "message"),
    [
        ("DenseImageData", "batch_size: 0", "", "batch_size is 0"),
        ("DenseImageData", "new_width: 4", "", "must be given together"),
        ("DenseImageData", "crop_width: 4", "", "crop_height 0 and crop_width 4; give"),
        ("DenseImageData", "label_divide_factor: 0", "", "is 0; give at least 1"),
        (
            "DenseImageData",
            "",
            "resize_param { }",
            "resize_param is not for images",
        ),
        ("ImageSegData", "", 'mean_file: "x"', "takes no mean_file; give mean_value"),
        ("ImageSegData", "", "scale_factors: 0", "expected finite numbers above 0"),
        ("DenseImageData", "batch_size: 3", "", r"the images of a batch must be equal"),
    ],
)
def test_options_that_cannot_be_are_refused(folder, kind, more, transform, message):
    with pytest.raises(SpecError, match=rf"'d' \({kind}\).*" + message):
        found(folder, kind, more, transform, count=1)


def test_files_that_do_not_fit_are_told(folder):
    Image.fromarray(labels_of(2)).save(folder / "0_l.png")
    with pytest.raises(FileError, match=r"0_l.png: has 9 by 20 .*its image 12 by 17"):
        found(folder, "DenseImageData")
    rgb = np.zeros((12, 17, 3), np.uint8)
    rgb[..., 1] = 9
    Image.fromarray(rgb).save(folder / "0_l.png")
    with pytest.raises(FileError, match="0_l.png: has colours; labels are an image"):
        found(folder, "DenseImageData")
    (folder / "list").write_text("0.png\n")
    with pytest.raises(FileError, match=r"list:1: expected an image and an image"):
        found(folder, "DenseImageData")
    (folder / "list").write_text("0.png cat\n")
    with pytest.raises(FileError, match="the label 'cat' is no whole number"):
        found(folder, "ImageSegData", "label_type: IMAGE")
