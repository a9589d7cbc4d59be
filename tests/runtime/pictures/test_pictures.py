"""Grids of filters, activations and batches, looked at as arrays."""

import sys
import warnings

import numpy as np
import pytest

import runtime
from netspec import NetSpec, module
from netspec import layers as L
from netspec.errors import FileError, ShapeError, SpecError, SpecWarning
from runtime.pictures.colours import around_zero, from_least

RNG = np.random.default_rng(0)


def spec():
    """Colour and plain convolutions with groups, a module, and a layer on top."""

    @module
    def unit(x):
        return L.ReLU(
            L.Convolution(x, num_output=6, kernel_size=2, group=2, name="conv"),
            in_place=True,
        )

    n = NetSpec("pictures")
    n.data = L.Input(shape=[4, 3, 9, 8])
    n.conv1 = L.Convolution(n.data, num_output=4, kernel_size=3, weight_filler="xavier")
    n.bn = L.BatchNorm(n.conv1)
    n.unit = unit(n.bn)
    n.ip = L.InnerProduct(n.unit, num_output=5, weight_filler="xavier")
    return n


@pytest.fixture
def net():
    made = runtime.Net(spec(), backend="portable")
    rng = np.random.default_rng(1)
    for blobs in made.params.values():
        blobs[0].data[...] = rng.normal(size=blobs[0].shape)
    return made


# ---------------------------------------------------------------- filters


def test_filters_of_three_channels_are_in_colour_with_red_first(net):
    w = net.params["conv1"][0].data
    w[...] = 0
    w[0, 2] = 1.0  # the third channel of Caffe's images is red
    w[1, 0] = -2.0
    grid = runtime.filters(net, "conv1")
    assert grid.tiles.shape == (4, 3, 3, 3)
    assert grid.tiles[0, 1, 1].tolist() == [255, 128, 128]
    assert grid.tiles[1, 1, 1].tolist() == [128, 128, 0]
    rgb = runtime.filters(net, "conv1", channels="rgb")
    assert rgb.tiles[0, 1, 1].tolist() == [128, 128, 255]
    assert any("blue, green, red" in note for note in grid.notes)
    gray = runtime.filters(net, "conv1", channels="gray")
    assert len(gray.tiles) == 12
    assert gray.columns == 3


def test_scale_is_of_each_filter_or_of_all(net):
    w = net.params["conv1"][0].data
    w[...] = 0
    w[0], w[1] = 1.0, 4.0
    each = runtime.filters(net, "conv1").tiles[:, 0, 0, 0]
    every = runtime.filters(net, "conv1", scale="all").tiles[:, 0, 0, 0]
    assert each.tolist() == [255, 255, 128, 128]
    assert every.tolist() == [159, 255, 128, 128]


def test_other_filters_have_a_row_each_and_groups_their_own_channels(net):
    name = next(n for n in net.params if n.startswith("unit/"))
    grid = runtime.filters(net, name)
    w = net.params[name][0].data
    assert w.shape == (6, 2, 2, 2)
    assert (grid.columns, grid.rows) == (2, 6)
    expected = around_zero(w, "each").reshape(12, 2, 2)
    np.testing.assert_array_equal(grid.tiles[..., 0], expected)
    few = runtime.filters(net, name, n=5)
    assert len(few.tiles) == 4
    assert any("4 of 12" in note and "n=12" in note for note in few.notes)


def test_weights_on_images_have_their_shape_and_a_matrix_is_one_image(net):
    grid = runtime.filters(net, "ip", n=30)
    channels, height, width = net.blobs["unit/conv"].shape[1:]
    assert grid.tiles.shape[1:3] == (height, width)
    assert grid.columns == channels
    n = NetSpec()
    n.x = L.Input(shape=[2, 7])
    n.ip = L.InnerProduct(n.x, num_output=3, weight_filler="xavier")
    flat = runtime.filters(runtime.Net(n, backend="portable"), "ip")
    assert flat.tiles.shape == (1, 3, 7, 3)


def test_what_has_no_filters_says_what_has(net):
    with pytest.raises(SpecError, match=r"'bn' \(BatchNorm\).*no filters.*conv1, unit"):
        runtime.filters(net, "bn")
    with pytest.raises(SpecError, match=r"'unit' \(ReLU\) has no filters"):
        runtime.filters(net, "unit")
    n = NetSpec()
    n.data = L.Input(shape=[1, 1, 4, 4])
    n["a/b"] = L.Convolution(n.data, num_output=2, kernel_size=2, weight_filler="msra")
    n["a/c"] = L.ReLU(n["a/b"])
    other = runtime.Net(n, backend="portable")
    with pytest.raises(SpecError, match="'a' is a module; name one of its.*: a/b"):
        runtime.filters(other, "a")
    assert "a (a/c)" in runtime.activations(other, "a", np.ones((1, 4, 4))).title
    with pytest.raises(SpecError, match="no layer 'conv' .*did you mean 'conv1'"):
        runtime.filters(net, "conv")
    for wrong in ({"n": 0}, {"channels": "brg"}, {"scale": "every"}):
        with pytest.raises(SpecError, match=f"{next(iter(wrong))} is"):
            runtime.filters(net, "conv1", **wrong)


def test_nets_come_as_solver_history_or_spec_with_weights(net, tmp_path):
    expected = runtime.filters(net, "conv1").array
    net.save(tmp_path / "w.caffemodel")
    made = runtime.filters(spec(), "conv1", weights=tmp_path / "w.caffemodel")
    np.testing.assert_array_equal(made.array, expected)
    with pytest.warns(SpecWarning, match="without weights.*fillers start"):
        runtime.filters(spec(), "conv1")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        saved = runtime.filters(str(tmp_path / "w.caffemodel"), "conv1")
    np.testing.assert_array_equal(saved.array, expected)
    with pytest.raises(SpecError, match="has values already"):
        runtime.filters(net, "conv1", weights=tmp_path / "w.caffemodel")
    solver = training()
    w = solver.net.params["conv1"][0].data
    for subject in (solver, solver.net):
        tiles = runtime.filters(subject, "conv1").tiles
        np.testing.assert_array_equal(tiles[..., 0], around_zero(w, "each")[:, 0])


def training():
    n = NetSpec("train")
    n.data = L.Input(shape=[2, 1, 6, 5])
    n.t = L.Input(shape=[2, 3])
    n.conv1 = L.Convolution(n.data, num_output=2, kernel_size=3, weight_filler="msra")
    n.ip = L.InnerProduct(n.conv1, num_output=3, weight_filler="xavier")
    n.loss = L.EuclideanLoss(n.ip, n.t)
    return runtime.Solver(n, base_lr=0.01, backend="portable")


# ---------------------------------------------------------------- activations


def test_activations_of_blobs_layers_and_modules(net):
    x = RNG.normal(size=(4, 3, 9, 8))
    grid = runtime.activations(net, "conv1", x, item=2)
    one = net.blobs["conv1"].data[2]
    assert one.std() > 0
    np.testing.assert_array_equal(grid.tiles[..., 0], from_least(one, "all"))
    each = runtime.activations(net, "conv1", x, item=2, scale="each")
    assert (each.tiles.reshape(4, -1).max(axis=1) == 255).all()
    by_module = runtime.activations(net, "unit", x)
    by_blob = runtime.activations(net, net.top_names[last_of(net, "unit/")][0])
    np.testing.assert_array_equal(by_module.array, by_blob.array)
    assert "item 0, 6 of" in by_module.title
    few = runtime.activations(net, "unit", n=2)
    assert len(few.tiles) == 2
    assert few.notes == ("2 of 6 channels are shown; n=6 shows all",)
    matrix = runtime.activations(net, "ip", x)
    assert matrix.tiles.shape == (1, 4, 5, 3)


def last_of(net, path):
    return [name for name in net.top_names if name.startswith(path)][-1]


def test_an_item_alone_and_dicts_go_in(net):
    x = RNG.normal(size=(3, 9, 8)).astype("float32")
    alone = runtime.activations(net, "conv1", x)
    by_name = runtime.activations(net, "conv1", {"data": x[None]})
    np.testing.assert_array_equal(alone.array, by_name.array)
    np.testing.assert_array_equal(net.blobs["data"].data[0], x)


def test_what_cannot_go_in_says_what_can(net):
    with pytest.raises(SpecError, match="inputs.*data, hold nothing yet; give x"):
        runtime.activations(net, "conv1")
    with pytest.raises(ShapeError, match=r"\(5, 3, 9, 8\).*\(4, 3, 9, 8\).*up to 4"):
        runtime.activations(net, "conv1", np.zeros((5, 3, 9, 8)))
    with pytest.raises(SpecError, match="no array of numbers"):
        runtime.activations(net, "conv1", "image.png")
    with pytest.raises(SpecError, match="'dta' is no input.*data"):
        runtime.activations(net, "conv1", {"dta": np.zeros((3, 9, 8))})
    with pytest.raises(SpecError, match="item is 4.*expected 0 to 3"):
        runtime.activations(net, "conv1", np.zeros((3, 9, 8)), item=4)
    with pytest.raises(SpecError, match="no blob, layer or module 'uni'.*'unit'"):
        runtime.activations(net, "uni", np.zeros((3, 9, 8)))
    pruned = runtime.Net(spec(), keep=(), backend="portable")
    with pytest.raises(SpecError, match="not kept"):
        runtime.activations(pruned, "conv1", np.zeros((3, 9, 8)))


def test_a_net_with_data_of_its_own_takes_no_x():
    n = NetSpec()
    n.data = L.DummyData(shape=[2, 1, 4, 4], data_filler=dict(type="uniform"))
    n.conv = L.Convolution(n.data, num_output=2, kernel_size=3, weight_filler="xavier")
    net = runtime.Net(n, backend="portable")
    with pytest.raises(SpecError, match="no inputs.*leave x out"):
        runtime.activations(net, "conv", np.zeros((1, 4, 4)))
    assert len(runtime.activations(net, "conv").tiles) == 2
    data = net.blobs["data"].data.copy()
    runtime.activations(net, "conv")
    np.testing.assert_array_equal(net.blobs["data"].data, data)


def test_what_the_inputs_hold_is_computed_after_the_last_smaller_batch():
    n = NetSpec()
    n.data, n.t = L.Input(shape=[4, 1, 5, 5]), L.Input(shape=[4, 2])
    n.conv1 = L.Convolution(n.data, num_output=2, kernel_size=2, weight_filler="msra")
    n.ip = L.InnerProduct(n.conv1, num_output=2, weight_filler="xavier")
    n.loss = L.EuclideanLoss(n.ip, n.t)
    x = RNG.normal(size=(6, 1, 5, 5)).astype("float32")
    history = runtime.fit(
        n,
        (x, np.zeros((6, 2))),
        epochs=1,
        solver=dict(base_lr=0.01),
        backend="portable",
        progress=False,
    )
    shown = runtime.activations(history, "conv1", item=1).array
    history.net.forward()
    again = runtime.activations(history, "conv1", item=1).array
    np.testing.assert_array_equal(shown, again)


# ---------------------------------------------------------------- batches


def test_images_of_arrays_have_captions():
    x = np.zeros((5, 3, 4, 6), np.uint8)
    x[0, 0], x[1, 2] = 200, 100  # blue, red
    grid = runtime.show_batch((x, [0, 1, 2, 1, 7]), n=4, names=["cat", "dog"])
    assert grid.captions == ("cat", "dog", "2", "dog")
    assert grid.tiles[0, 0, 0].tolist() == [0, 0, 200]
    assert grid.tiles[1, 0, 0].tolist() == [100, 0, 0]
    assert "4 of 5 images are shown; n=5 shows all" in grid.notes
    rgb = runtime.show_batch(x, channels="rgb")
    assert rgb.tiles[0, 0, 0].tolist() == [200, 0, 0]
    assert rgb.captions == ()


def test_values_decide_what_is_white():
    unit = RNG.uniform(size=(2, 1, 4, 4))
    tiles = runtime.show_batch(unit).tiles[..., 0]
    np.testing.assert_array_equal(tiles, np.rint(unit[:, 0] * 255))
    other = RNG.normal(size=(2, 1, 4, 4))
    grid = runtime.show_batch(other)
    assert (grid.tiles.min(), grid.tiles.max()) == (0, 255)
    assert any("(black)" in note for note in grid.notes)
    grey = runtime.show_batch({"x": unit[:, 0], "y": np.array([[0.5, 1], [2, 3]])})
    assert grey.captions == ("0.5, 1", "2, 3")
    many = runtime.show_batch(RNG.uniform(size=(2, 5, 4, 4)))
    assert "the first of 5 channels is shown" in many.notes


def test_doubtful_data_are_told_of():
    with pytest.raises(SpecError, match=r"channels last.*transpose\(0, 3, 1, 2\)"):
        runtime.show_batch(np.zeros((2, 5, 4, 3)))
    x = np.zeros((2, 1, 3, 3))
    x[1, 0, 0, 0] = np.nan
    grid = runtime.show_batch((x, ["cat", "dog"]))
    assert grid.captions == ("cat", "dog")
    assert "1 of 18 values are not finite, and shown as 0" in grid.notes
    assert grid.tiles.max() == 0


def test_values_that_are_not_finite_are_told_of(net):
    net.params["conv1"][0].data[0, 0] = np.inf
    assert any(
        "9 of 108 values are not" in n for n in runtime.filters(net, "conv1").notes
    )
    grid = runtime.activations(net, "conv1", np.ones((3, 9, 8)))
    assert any("are not finite" in note for note in grid.notes)
    for call in (runtime.filters, runtime.activations):
        with pytest.raises(SpecError, match="expected the name of a layer.*got 3"):
            call(net, 3)


def test_names_come_as_dicts_and_files(tmp_path):
    x, y = np.zeros((2, 1, 3, 3)), np.array([3, 1])
    assert runtime.show_batch((x, y), names={3: "owl"}).captions == ("owl", "1")
    (tmp_path / "names.txt").write_text("a\nb\n\nc d\ne\n")
    shown = runtime.show_batch((x, y), names=tmp_path / "names.txt")
    assert shown.captions == ("e", "b")
    with pytest.raises(FileError, match="names"):
        runtime.show_batch((x, y), names=str(tmp_path / "no names"))


def images_net(folder, transform):
    """A net that reads pictures of files, and the pictures."""
    image = pytest.importorskip("PIL.Image")
    pictures = RNG.integers(0, 256, (3, 6, 5, 3), np.uint8)
    lines = []
    for number, picture in enumerate(pictures):
        image.fromarray(picture).save(folder / f"{number}.png")
        lines.append(f"{folder}/{number}.png {number + 4}")
    (folder / "list.txt").write_text("\n".join(lines))
    n = NetSpec("files")
    n.data, n.label = L.ImageData(
        source=str(folder / "list.txt"), batch_size=3, ntop=2, transform_param=transform
    )
    n.conv1 = L.Convolution(n.data, num_output=2, kernel_size=2, weight_filler="msra")
    n.ip = L.InnerProduct(n.conv1, num_output=9, weight_filler="xavier")
    n.loss = L.SoftmaxWithLoss(n.ip, n.label)
    return n, pictures


def test_mean_and_scale_of_a_data_layer_are_undone(tmp_path):
    transform = dict(scale=0.25, mean_value=[104, 117, 123])
    n, pictures = images_net(tmp_path, transform)
    net = runtime.Net(n, backend="portable")
    grid = runtime.show_batch(net)
    np.testing.assert_array_equal(grid.tiles, pictures)
    assert grid.captions == ("4", "5", "6")
    assert "undone: scale 0.25, mean_value" in grid.notes
    raw = runtime.show_batch(net, undo=False)
    assert any("(black)" in note for note in raw.notes)
    assert not np.array_equal(raw.tiles, pictures)


def test_a_mean_file_is_undone_by_its_mean_of_each_channel(tmp_path):
    from netspec.schema import BlobProto

    mean = np.full((3, 6, 5), 10.0) * np.array([1, 2, 3]).reshape(3, 1, 1)
    blob = BlobProto(channels=3, height=6, width=5, num=1, data=mean.ravel())
    (tmp_path / "mean.binaryproto").write_bytes(blob.SerializeToString())
    n, pictures = images_net(
        tmp_path, dict(mean_file=str(tmp_path / "mean.binaryproto"))
    )
    grid = runtime.show_batch(runtime.Net(n, backend="portable"))
    np.testing.assert_array_equal(grid.tiles, pictures)


def test_a_look_takes_nothing_away_from_training(tmp_path):
    n, _ = images_net(tmp_path, dict(scale=0.01))
    solvers = [runtime.Solver(n, base_lr=0.01, backend="portable") for _ in range(2)]
    runtime.show_batch(solvers[0])
    for solver in solvers:
        solver.step(3)
    one, other = ([r.loss for r in s.history.train] for s in solvers)
    assert one == other
    shown = (
        runtime.show_batch(solvers[0].history)
        if hasattr(solvers[0].history, "solver")
        else runtime.show_batch(solvers[0])
    )
    assert len(shown.tiles) == 3


def test_data_without_images_say_what_there_is():
    n = NetSpec()
    n.x = L.Input(shape=[2, 7])
    n.y = L.InnerProduct(n.x, num_output=2, weight_filler="xavier")
    with pytest.raises(SpecError, match=r"takes no images.*x \(2, 7\)"):
        runtime.show_batch(runtime.Net(n, backend="portable"))
    with pytest.raises(SpecError, match=r"no images in the data.*0 \(4, 2\)"):
        runtime.show_batch((np.zeros((4, 2)), np.zeros(4)))
    with pytest.raises(SpecError, match="hold nothing yet"):
        runtime.show_batch(runtime.Net(spec(), backend="portable"))
    with pytest.raises(SpecError, match="is empty"):
        runtime.show_batch(np.zeros((0, 1, 4, 4)))


def test_data_sets_are_shown_batch_by_batch():
    from runtime.data.dataset import open_dataset

    x = RNG.uniform(size=(6, 1, 3, 3)).astype("float32")
    y = np.arange(6)
    data = open_dataset((x, y), {"data": (4, 1, 3, 3), "label": (4,)})
    grid = runtime.show_batch(data, batch=1)
    assert grid.captions[:2] == ("4", "5")
    np.testing.assert_array_equal(
        grid.tiles[0, ..., 0], np.rint(x[4, 0].astype(float) * 255)
    )


def test_pictures_are_not_imported_before_they_are_used():
    import subprocess

    code = (
        "import runtime, sys; "
        "sys.exit(any(m.startswith(('runtime.pictures', 'PIL')) for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert {"filters", "activations", "show_batch"} <= set(dir(runtime))
