"""Layers that bring data in, take it out or hold it, and the one for Python code."""

from __future__ import annotations

from netspec.catalogue.base import LayerType

_NO_BOTTOM = (0, 0)
_IMAGES = "data (batch_size, C, H, W), label (batch_size,)"

DATA = (
    LayerType(
        name="Data",
        param="data_param",
        extra_params=("transform_param",),
        bottoms=_NO_BOTTOM,
        bottom_names=(),
        tops=(1, 2),
        required=("source", "batch_size"),
        summary="Read images and labels from a database.",
        formula="data = (pixel - mean) scale, cropped and mirrored as transform_param "
        "says",
        shapes=_IMAGES,
        notes="`ntop=2` for data and label. Records are read in the order of their "
        "keys, over and over.",
    ),
    LayerType(
        name="DummyData",
        param="dummy_data_param",
        bottoms=_NO_BOTTOM,
        bottom_names=(),
        tops=(1, None),
        required=("shape",),
        instead={"shape": (("num", "channels", "height", "width"),)},
        summary="Fill blobs with a constant or with noise.",
        shapes="y_i (shape), one for all tops or one for each",
        notes="Noise is drawn anew at every pass, a constant filled in once.",
    ),
    LayerType(
        name="HDF5Data",
        param="hdf5_data_param",
        bottoms=_NO_BOTTOM,
        bottom_names=(),
        tops=(1, None),
        required=("source", "batch_size"),
        summary="Read the data sets named as the tops from HDF5 files.",
        shapes="y_i (batch_size, ...) as in the file",
        notes="`source` is a text file that lists the HDF5 files. Takes no "
        "transform_param.",
    ),
    LayerType(
        name="HDF5Output",
        param="hdf5_output_param",
        bottoms=(2, 2),
        bottom_names=("data", "label"),
        tops=(0, 0),
        required=("file_name",),
        summary="Write data and labels to an HDF5 file.",
        shapes="data (N, ...), label (N, ...) -> nothing; the file has four axes",
    ),
    LayerType(
        name="ImageData",
        param="image_data_param",
        extra_params=("transform_param",),
        bottoms=_NO_BOTTOM,
        bottom_names=(),
        tops=(2, 2),
        required=("source",),
        summary="Read the image files and labels that a text file lists.",
        shapes=_IMAGES,
        notes="Write `ntop=2`.",
    ),
    LayerType(
        name="Input",
        param="input_param",
        bottoms=_NO_BOTTOM,
        bottom_names=(),
        tops=(1, None),
        summary="Declare blobs that the caller fills.",
        shapes="y_i (shape), one for all tops or one for each",
    ),
    LayerType(
        name="MemoryData",
        param="memory_data_param",
        extra_params=("transform_param",),
        bottoms=_NO_BOTTOM,
        bottom_names=(),
        tops=(2, 2),
        required=("batch_size", "channels", "height", "width"),
        summary="Take images and labels from arrays that the caller hands over.",
        shapes="data (batch_size, channels, height, width), label (batch_size,)",
        notes="Write `ntop=2`.",
    ),
    LayerType(
        name="Parameter",
        param="parameter_param",
        bottoms=_NO_BOTTOM,
        bottom_names=(),
        required=("shape",),
        summary="Make a learned array a blob.",
        shapes="y (shape)",
    ),
    LayerType(
        name="Python",
        param="python_param",
        bottoms=(0, None),
        bottom_names=("x",),
        tops=(0, None),
        required=("module", "layer"),
        summary="Run a layer that is a Python class.",
        shapes="as the class says",
        notes="`param_str` reaches the class as text. A loss made so needs "
        "`loss_weight=1`.",
    ),
    LayerType(
        name="WindowData",
        param="window_data_param",
        extra_params=("transform_param",),
        bottoms=_NO_BOTTOM,
        bottom_names=(),
        tops=(2, 2),
        required=("source", "batch_size"),
        summary="Cut labelled windows out of images, for training detectors.",
        shapes="data (batch_size, 3, crop_size, crop_size), label (batch_size,)",
        notes="Write `ntop=2`.",
        source="Girshick et al., arXiv:1311.2524",
    ),
)
