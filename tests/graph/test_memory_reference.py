"""Memory used again changes no number: what every layer says it reads is true.

Each recorded case runs with all blobs kept and with none kept. In the second run the
memory of a blob is overwritten as soon as the plan says that nobody reads it any more.
"""

import json
from pathlib import Path

import numpy as np
import pytest

import runtime
from netspec.errors import UnsupportedError
from netspec.schema import TEST, TRAIN
from tests.reference import needs_reference, reference_dir

NEED_FILES = ('"Data"', "HDF5", "MemoryData", "source:")


def cases() -> list[Path]:
    folder = reference_dir()
    if folder is None:
        return []
    found = []
    for group in ("layer", "net"):
        for path in sorted((folder / "conformance" / "cases" / group).glob("*.npz")):
            with np.load(path, allow_pickle=False) as case:
                text = str(case["prototxt"])
                if "kind" not in case and not any(word in text for word in NEED_FILES):
                    found.append(path)
    return found


def results(case: dict[str, np.ndarray], keep: tuple[str, ...] | None):
    """Outputs, input gradients, parameters and their gradients after two passes."""
    net = runtime.Net(
        str(case["prototxt"]),
        {"TRAIN": TRAIN, "TEST": TEST}[str(case["phase"])],
        level=int(case.get("level", 0)),
        stages=json.loads(str(case.get("stages", "[]"))),
        keep=keep,
    )
    for member, array in case.items():
        kind, _, rest = member.partition(":")
        if kind == "input":
            net.blobs[rest].data[...] = array
        if kind == "param":
            name, _, slot = rest.rpartition(":")
            net.params[name][int(slot)].data[...] = array
    for _ in range(2):  # the second pass finds the memory as the first one left it
        net.forward()
        net.clear_param_diffs()
        if "backward" in case:
            for member, array in case.items():
                kind, _, rest = member.partition(":")
                if kind == "outdiff":
                    net.blobs[rest].diff[...] = array
            net.backward()
    found = {f"data {name}": net.blobs[name].data.copy() for name in net.outputs}
    for name in net.inputs:
        found[f"diff {name}"] = net.blobs[name].diff.copy()
    for name, blobs in net.params.items():
        for slot, blob in enumerate(blobs):
            found[f"data {name} {slot}"] = blob.data.copy()
            found[f"diff {name} {slot}"] = blob.diff.copy()
    return found


@needs_reference
@pytest.mark.parametrize("path", cases(), ids=lambda path: path.stem)
def test_memory_used_again_changes_no_number(path):
    with np.load(path, allow_pickle=False) as archive:
        case = {name: archive[name] for name in archive.files}
    try:
        kept = results(case, None)
    except UnsupportedError as error:
        pytest.skip(str(error))
    reused = results(case, ())
    assert kept.keys() == reused.keys()
    for name, array in kept.items():
        np.testing.assert_array_equal(reused[name], array, err_msg=name)
