import pytest

from netspec.errors import ShapeError, SpecError
from netspec.ops.data import infer_with, source_op
from tests.ops.reading import layer, read, refuses


def test_one_input_shape_may_serve_all_tops():
    op = read('type: "Input" top: "a" top: "b" input_param { shape { dim: 2 dim: 3 } }')
    assert op.tops == ((2, 3), (2, 3))
    assert op.is_source


def test_inputs_may_have_a_shape_each():
    op = read("""type: "Input" top: "a" top: "b"
        input_param { shape { dim: 2 dim: 3 } shape { } }""")
    assert op.tops == ((2, 3), ())


def test_bad_inputs_are_refused():
    refuses('type: "Input" top: "a"', match="input_param.shape is missing; give one")
    text = """type: "Input" top: "a" top: "b" top: "c"
        input_param { shape { dim: 2 } shape { dim: 2 } }"""
    refuses(
        text, match="input_param.shape is given 2 times for 3 tops; give one for all"
    )
    text = 'type: "Input" top: "a" input_param { shape { dim: -2 } }'
    refuses(text, match=r"top 0 would have shape \(-2,\); sizes must not be negative")


def test_dummy_data_has_a_filler_for_every_top():
    op = read("""type: "DummyData" top: "a" top: "b" dummy_data_param {
        shape { dim: 2 } shape { dim: 3 dim: 4 }
        data_filler { type: "gaussian" std: 2 } data_filler { value: 5 } }""")
    assert op.tops == ((2,), (3, 4))
    assert [filler.type for filler in op.data_filler] == ["gaussian", "constant"]
    op = read("""type: "DummyData" top: "a" top: "b"
        dummy_data_param { num: 2 num: 5 channels: 3 height: 4 width: 6 }""")
    assert op.tops == ((2, 3, 4, 6), (5, 3, 4, 6))
    assert [filler.value for filler in op.data_filler] == [0, 0]


def test_bad_dummy_data_is_refused():
    def text(options):
        return f'type: "DummyData" top: "a" top: "b" dummy_data_param {{ {options} }}'

    message = "data_filler is given 3 times for 2 tops"
    refuses(text("shape { dim: 2 }" + " data_filler { }" * 3), match=message)
    refuses(text("num: 2 shape { dim: 2 }"), match="both shape and num/channels")
    refuses(
        text("num: 2"), match="dummy_data_param.channels is given 0 times for 2 tops"
    )


def test_memory_data_knows_its_shapes():
    text = 'type: "MemoryData" top: "d" top: "l" memory_data_param { batch_size: 2 '
    op = read(text + "channels: 3 height: 4 width: 5 }")
    assert op.tops == ((2, 3, 4, 5), (2,))
    refuses(text + "}", match=r"batch_size, channels, height and width \(2, 0, 0, 0\)")


def test_a_crop_and_a_mean_for_every_channel_tell_the_image():
    text = (
        'type: "Data" top: "d" top: "l" data_param { batch_size: 2 } transform_param {'
    )
    op = read(text + "crop_size: 5 mean_value: 1 mean_value: 2 mean_value: 3 }")
    assert op.tops == ((2, 3, 5, 5), (2,))
    assert read(text + "crop_size: 5 force_gray: true }").tops[0] == (2, 1, 5, 5)
    assert read(text + "crop_size: 5 force_color: true }").tops[0] == (2, 3, 5, 5)
    refuses(text + "crop_size: 5 mean_value: 1 }", match="as in --shape d=N,C,H,W")
    refuses(
        text + "force_color: true }", match="only with crop_size and either mean_val"
    )


def test_image_and_window_data_tell_their_sizes():
    text = 'type: "ImageData" top: "d" top: "l" image_data_param { batch_size: 2 '
    assert read(text + "new_height: 4 new_width: 5 }").tops == ((2, 3, 4, 5), (2,))
    op = read(text + "is_color: false } transform_param { crop_size: 6 }")
    assert op.tops[0] == (2, 1, 6, 6)
    refuses(text + "new_height: 4 }", match="only with new_height and new_width, or")
    text = 'type: "WindowData" top: "d" window_data_param { batch_size: 2 '
    assert read(text + "crop_size: 6 }").tops == ((2, 3, 6, 6),)
    refuses(text + "}", match="crop_size is missing; give the size of the windows")
    text = 'type: "WindowData" top: "d" window_data_param { crop_size: 6 }'
    refuses(text, match="window_data_param.batch_size is 0; give at least 1")


def test_files_of_other_kinds_must_be_read():
    for kind in ("HDF5Data", "VideoData"):
        refuses(f'type: "{kind}" top: "d"', match="in the file it reads; .*--shape d=N")


def test_given_shapes_replace_what_the_file_would_tell():
    data = layer('type: "Data" top: "d" top: "l"')
    op = infer_with(data, (), {"d": (2, 3, 4, 5)})
    assert op.tops == ((2, 3, 4, 5), (2,))
    assert op.type == "Data"
    both = infer_with(data, (), {"d": (2, 3), "l": (2, 7)})
    assert both.tops == ((2, 3), (2, 7))
    inputs = layer('type: "Input" top: "a" top: "b" input_param { shape { dim: 2 } }')
    assert infer_with(inputs, (), {"b": (9,)}).tops == ((2,), (9,))


def test_given_shapes_make_a_python_layer_known():
    text = 'type: "Python" top: "y" python_param { module: "m" layer: "Thing" }'
    refuses(text, (2, 3), match=r"only the code of m\.Thing knows .*run the net")
    op = infer_with(layer(text), [(2, 3)], {"y": (4, 5)})
    assert op.tops == ((4, 5),)
    assert (op.module, op.python_layer) == ("m", "Thing")
    assert op.backward_tops == (0,)
    assert read('type: "Python"', (2, 3)).tops == ()


def test_source_op_wants_a_shape_for_every_top():
    data = layer('type: "Data" top: "d" top: "l"')
    assert source_op(data, [[2, 3], [2]]).tops == ((2, 3), (2,))
    with pytest.raises(ShapeError, match=r"got 1 shapes for 2 tops \('d', 'l'\)"):
        source_op(data, [(2, 3)])
    with pytest.raises(SpecError, match="this is not a data layer; it has no source"):
        source_op(layer('type: "ReLU" top: "d"'), [(2, 3)])


def test_annotated_data_has_boxes():
    text = """type: "AnnotatedData" top: "d" top: "l" data_param { batch_size: 2 }
        transform_param { mean_value: 1 mean_value: 2 mean_value: 3
            resize_param { height: 4 width: 5 } }"""
    assert read(text).tops == ((2, 3, 4, 5), (1, 1, 1, 8))


def test_hdf5_output_needs_a_file_and_equal_batches():
    text = 'type: "HDF5Output" hdf5_output_param { file_name: "f" }'
    op = read(text, (2, 3), (2,))
    assert op.file_name == "f"
    assert op.gradient_bottoms == ()
    refuses(text, (2, 3), (4,), match="must have the same first axis")
    refuses('type: "HDF5Output"', (2, 3), (2,), match="file_name is missing")


def test_parameter_is_its_own_top():
    op = read('type: "Parameter" top: "w" parameter_param { shape { dim: 2 dim: 3 } }')
    assert op.tops == ((2, 3),)
    assert op.params[0].shape == (2, 3)
    assert not op.is_source
