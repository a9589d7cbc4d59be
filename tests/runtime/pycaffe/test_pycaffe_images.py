"""pycaffe's images: caffe.io, Classifier and Detector."""

import numpy as np
import pytest

import runtime.pycaffe as caffe
from netspec.errors import FileError, ShapeError, SpecError
from netspec.errors import UnsupportedError as Unsupported

NET = """
name: "small" force_backward: true
layer { name: "data" type: "Input" top: "data"
  input_param { shape { dim: 4 dim: 3 dim: 5 dim: 6 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 2 kernel_size: 3
    weight_filler { type: "xavier" } bias_filler { type: "constant" value: 0.5 } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
  inner_product_param { num_output: 7 weight_filler { type: "xavier" } } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"""


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_text(NET)
    return str(path)


@pytest.fixture
def weights(tmp_path, model):
    path = str(tmp_path / "net.caffemodel")
    caffe.Net(model, caffe.TEST, seed=5).save(path)
    return path


def test_an_image_is_loaded_as_numbers_from_0_to_1(tmp_path):
    image = pytest.importorskip("PIL.Image")
    pixels = np.zeros((2, 3, 3), np.uint8)
    pixels[0, 1] = (255, 51, 0)
    image.fromarray(pixels).save(tmp_path / "x.png")
    loaded = caffe.io.load_image(str(tmp_path / "x.png"))
    assert (loaded.dtype, loaded.shape) == (np.float32, (2, 3, 3))
    np.testing.assert_allclose(loaded[0, 1], [1, 0.2, 0], rtol=1e-6)
    assert caffe.io.load_image(str(tmp_path / "x.png"), color=False).shape == (2, 3, 1)
    with pytest.raises(FileError):
        caffe.io.load_image(str(tmp_path / "y.png"))


def test_images_are_resized():
    image = np.arange(12.0).reshape(3, 4, 1)
    np.testing.assert_allclose(
        caffe.io.resize_image(image, (3, 2))[:, :, 0],
        [[0.5, 2.5], [4.5, 6.5], [8.5, 10.5]],
    )
    nearest = caffe.io.resize_image(image, (6, 4), interp_order=0)
    np.testing.assert_array_equal(nearest[::2], image)
    assert caffe.io.resize_image(np.zeros((4, 5, 6)), np.array([2, 3])).shape == (
        2,
        3,
        6,
    )
    with pytest.raises(Unsupported, match="interp_order is 3; expected 0 or 1"):
        caffe.io.resize_image(image, (6, 4), interp_order=3)


def test_ten_crops_of_every_image():
    image = np.arange(5 * 7 * 2.0).reshape(5, 7, 2)
    crops = caffe.io.oversample([image, image + 1], (3, 4))
    assert (crops.shape, crops.dtype) == ((20, 3, 4, 2), np.float32)
    np.testing.assert_array_equal(crops[0], image[:3, :4])
    np.testing.assert_array_equal(crops[1], image[:3, 3:])
    np.testing.assert_array_equal(crops[2], image[2:, :4])
    np.testing.assert_array_equal(crops[3], image[2:, 3:])
    np.testing.assert_array_equal(crops[4], image[1:4, 1:5])
    np.testing.assert_array_equal(crops[5:10], crops[:5, :, ::-1])
    np.testing.assert_array_equal(crops[10:], crops[:10] + 1)


def test_a_transformer_turns_an_image_into_an_input_and_back():
    transformer = caffe.io.Transformer({"data": (1, 3, 5, 6)})
    transformer.set_transpose("data", (2, 0, 1))
    transformer.set_channel_swap("data", (2, 0, 1))
    transformer.set_raw_scale("data", 255)
    transformer.set_mean("data", np.array([104.0, 117, 123]))
    transformer.set_input_scale("data", 0.5)
    image = np.random.default_rng(0).random((5, 6, 3), np.float32)
    ready = transformer.preprocess("data", image)
    mean = np.array([104, 117, 123])[:, None, None]
    expected = (image.transpose(2, 0, 1)[[2, 0, 1]] * 255 - mean) * 0.5
    np.testing.assert_allclose(ready, expected, rtol=1e-5, atol=1e-4)
    back = transformer.deprocess("data", ready[None])
    np.testing.assert_allclose(back, image, rtol=1e-4, atol=1e-5)
    assert transformer.preprocess("data", np.zeros((9, 8, 3))).shape == (3, 5, 6)


def test_a_mean_may_be_an_image_of_any_size():
    transformer = caffe.io.Transformer({"data": (1, 3, 4, 6)})
    transformer.set_mean("data", np.ones((3, 4, 6)))
    assert transformer.mean["data"].shape == (3, 4, 6)
    transformer.set_mean("data", np.full((3, 8, 9), 7.0))
    np.testing.assert_allclose(transformer.mean["data"], np.full((3, 4, 6), 7))
    transformer.set_mean("data", np.ones((4, 6)))
    assert transformer.mean["data"].shape == (1, 4, 6)


def test_what_a_transformer_cannot_take_is_refused():
    transformer = caffe.io.Transformer({"data": (1, 3, 5, 6)})
    with pytest.raises(SpecError, match="'dat' is no input of this transformer; did"):
        transformer.preprocess("dat", np.zeros((5, 6, 3)))
    with pytest.raises(ShapeError, match="expected an order of 3 axes"):
        transformer.set_transpose("data", (0, 2, 3, 1))
    with pytest.raises(ShapeError, match="the input has 3 channels"):
        transformer.set_channel_swap("data", (1, 0))
    with pytest.raises(ShapeError, match=r"expected \(3,\) or \(3, 5, 6\)"):
        transformer.set_mean("data", np.zeros(4))


def test_arrays_become_messages_and_back():
    array = np.random.default_rng(0).normal(size=(2, 3, 4))
    blob = caffe.io.array_to_blobproto(array, diff=array + 1)
    np.testing.assert_allclose(caffe.io.blobproto_to_array(blob), array, rtol=1e-6)
    np.testing.assert_allclose(
        caffe.io.blobproto_to_array(blob, return_diff=True), array + 1, rtol=1e-6
    )
    old = caffe.proto.caffe_pb2.BlobProto(num=1, channels=2, height=3, width=4)
    old.data.extend(range(24))
    assert caffe.io.blobproto_to_array(old).shape == (1, 2, 3, 4)
    double = caffe.proto.caffe_pb2.BlobProto(double_data=[1, 2], double_diff=[3, 4])
    double.shape.dim.append(2)
    assert caffe.io.blobproto_to_array(double).tolist() == [1, 2]
    assert caffe.io.blobproto_to_array(double, return_diff=True).tolist() == [3, 4]
    text = caffe.io.arraylist_to_blobprotovector_str([array, array[0]])
    shapes = [x.shape for x in caffe.io.blobprotovector_str_to_arraylist(text)]
    assert shapes == [(2, 3, 4), (3, 4)]


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_images_become_datums_and_back(kind):
    array = np.arange(24).reshape(2, 3, 4).astype(kind)
    datum = caffe.io.array_to_datum(array, label=3)
    assert (datum.label, bool(datum.data)) == (3, kind is np.uint8)
    np.testing.assert_array_equal(caffe.io.datum_to_array(datum), array)
    with pytest.raises(ShapeError, match="a datum has 3 axes"):
        caffe.io.array_to_datum(array[0])


# --- classifier, detector, drawings


def test_a_classifier_averages_over_crops(model, weights):
    classifier = caffe.Classifier(
        model,
        weights,
        image_dims=(8, 9),
        mean=np.array([1.0, 2, 3]),
        raw_scale=255,
        channel_swap=(2, 1, 0),
    )
    rng = np.random.default_rng(0)
    images = [rng.random((8, 9, 3), np.float32), rng.random((11, 10, 3), np.float32)]
    scores = classifier.predict(images)
    assert scores.shape == (2, 7)
    crops = caffe.io.oversample(images[:1], (5, 6))
    ready = [classifier.transformer.preprocess("data", crop) for crop in crops]
    by_hand = classifier.forward_all(data=np.stack(ready))["prob"].mean(0)
    np.testing.assert_allclose(scores[0], by_hand, rtol=1e-4)
    centre = classifier.predict(images[:1], oversample=False)
    np.testing.assert_allclose(
        centre[0],
        classifier.forward_all(data=np.stack(ready[4:5]))["prob"][0],
        rtol=1e-4,
    )


def test_a_detector_scores_windows(model, weights, tmp_path):
    image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)
    name = str(tmp_path / "x.png")
    image.fromarray(pixels).save(name)
    detector = caffe.Detector(model, weights, mean=np.ones(3), input_scale=0.5)
    windows = [(2, 3, 12, 15), (0, 0, 20, 30), (4, 4, 9, 10)]
    found = detector.detect_windows([(name, windows)])
    assert [record["window"] for record in found] == windows
    assert {record["filename"] for record in found} == {name}
    crop = caffe.io.load_image(name)[4:9, 4:10]
    alone = detector.forward_all(
        data=detector.transformer.preprocess("data", crop)[None]
    )
    np.testing.assert_allclose(found[2]["prediction"], alone["prob"][0], rtol=1e-4)
    assert detector.detect_windows([]) == []
    with pytest.raises(Unsupported, match="selective search"):
        detector.detect_selective_search([name])


def test_a_window_with_context_is_filled_with_the_mean(tmp_path):
    square = tmp_path / "square.prototxt"
    square.write_text(NET.replace("dim: 5 dim: 6", "dim: 8 dim: 8"))
    detector = caffe.Detector(
        str(square),
        mean=np.array([2.0, 4, 6]),
        raw_scale=2,
        channel_swap=(2, 1, 0),
        context_pad=2,
    )
    crop = detector.crop(np.ones((20, 20, 3), np.float32) * 9, (0, 4, 4, 8))
    assert crop.shape == (8, 8, 3)
    np.testing.assert_allclose(crop[0, 4], [3, 2, 1])  # above the image, RGB
    np.testing.assert_allclose(crop[4, 4], 9)
