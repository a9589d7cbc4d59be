"""`netspec.models`: the files of `models/` as functions, and as files."""

import inspect
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import netspec
from netspec import bundled
from netspec.commands.model_files import load_model
from netspec.errors import ShapeError, SpecError
from netspec.models.__main__ import main
from netspec.text import read_net, to_text
from tests.patience import PATIENCE_S

MODELS = Path(__file__).resolve().parents[2] / "models"
FILES = sorted(path.stem for path in MODELS.glob("*.py"))


def test_every_file_of_the_folder_is_listed_with_its_first_line():
    listed = netspec.models.list()
    assert sorted(listed) == sorted([*FILES, "googlenet_modules"])
    assert listed["vgg16"] == "VGG-16, as published by its authors"
    assert all(line and "\n" not in line for line in listed.values())
    assert repr(listed).splitlines()[0].startswith("alexnet  ")
    assert set(listed) < set(dir(netspec.models))
    assert "googlenet" in dir(netspec.models)


def made(name, deploy):
    try:
        return to_text(getattr(netspec.models, name)(deploy=deploy).to_proto())
    except ShapeError as error:
        return str(error)


def exported(name, deploy):
    try:
        return to_text(load_model(MODELS / f"{name}.py", deploy=deploy))
    except ShapeError as error:
        return str(error)


@pytest.mark.parametrize("deploy", [False, True])
@pytest.mark.parametrize("name", FILES)
def test_a_model_makes_what_its_file_exports(name, deploy):
    assert made(name, deploy) == exported(name, deploy)


def test_a_model_is_a_spec_that_can_be_edited():
    for deploy in (False, True):  # the file's function for use returns a message
        n = netspec.models.googlenet(deploy=deploy, num_classes=7)
        assert isinstance(n, netspec.NetSpec)
        scores = {x.name: x for x in n.to_proto().layer}["loss3/classifier"]
        assert scores.inner_product_param.num_output == 7
        n["loss3/classifier"].fn.params["num_output"] = 8
        scores = {x.name: x for x in n.to_proto().layer}["loss3/classifier"]
        assert scores.inner_product_param.num_output == 8
    n = netspec.models.googlenet_modules()
    assert to_text(n.to_proto()) == to_text(
        read_net(MODELS / "googlenet_modules.prototxt")
    )


def test_options_are_those_of_the_function_and_are_checked():
    n = netspec.models.resnet(18, num_classes=5, deploy=True)
    assert n.to_proto().layer[-2].inner_product_param.num_output == 5
    with pytest.raises(SpecError, match=r"models\.resnet: .*'dept'; did you .*'depth'"):
        netspec.models.resnet(dept=18)
    with pytest.raises(SpecError, match=r"depth is 20; expected one of 18, 34, 50"):
        netspec.models.resnet(depth=20)
    with pytest.raises(SpecError, match="too many positional arguments"):
        netspec.models.vgg16(1, 2, 3, 4, 5, 6, 7, 8)
    with pytest.raises(SpecError, match=r"no parameter 'source'"):
        netspec.models.googlenet(deploy=True, source="x")


def test_shapes_are_for_a_net_for_use_that_is_derived():
    shapes = {"data": (3, 1, 28, 28)}
    with pytest.raises(ShapeError, match="'data' is not known"):
        netspec.models.mnist_autoencoder(deploy=True)
    n = netspec.models.mnist_autoencoder(deploy=True, shapes=shapes)
    assert n.data.shape == (3, 1, 28, 28)
    with pytest.raises(SpecError, match=r"models\.lenet: shapes are for a net for use"):
        netspec.models.lenet(deploy=True, shapes=shapes)


def test_a_model_shows_how_it_is_called():
    signature = inspect.signature(netspec.models.lenet)
    assert next(iter(signature.parameters)) == "batch_size"
    assert signature.parameters["deploy"].default is False
    assert signature.parameters["batch_size"].default == 64
    text = netspec.models.lenet.__doc__
    assert text.startswith("LeNet for handwritten digits")
    assert "lenet(batch_size: int = 64, " in text
    assert "Return the net for training and testing" in text
    assert "lenet(deploy=True, batch_size: int = 64" in text
    assert repr(netspec.models.lenet).startswith("<model lenet(batch_size: int = 64,")


def test_what_a_file_has_beside_its_net_can_be_imported():
    from netspec.models.vgg16 import classify

    assert classify is netspec.models.vgg16.classify
    assert Path(inspect.getsourcefile(classify)) == MODELS / "vgg16.py"


def test_misspelt_models_are_told():
    with pytest.raises(AttributeError, match="'goglenet'; did you mean 'googlenet'"):
        _ = netspec.models.goglenet
    with pytest.raises(ImportError, match="resnit"):
        from netspec.models import resnit  # noqa: F401
    with pytest.raises(SpecError, match="no model .*; did you mean 'lenet_solver'"):
        netspec.models.path("lenet_solvr")
    assert not hasattr(netspec.models, "lenet_solver")


def test_sources_and_paths_are_those_of_the_files():
    source = netspec.models.source("googlenet")
    assert source == (MODELS / "googlenet.py").read_text()
    assert source.path == netspec.models.path("googlenet") == MODELS / "googlenet.py"
    assert repr(source) == source
    assert netspec.models.path("lenet_solver") == MODELS / "lenet_solver.prototxt"
    assert netspec.models.path("lenet_solver.prototxt").is_file()
    assert "Faster R-CNN" in netspec.models.source("rpn")


def test_modules_of_a_program_with_the_same_names_stay_its_own(tmp_path):
    """A model imports its neighbours, and a program its own, in either order."""
    (tmp_path / "resnet.py").write_text("MINE = True\n")
    (tmp_path / "vgg16.py").write_text("MINE = True\n")
    (tmp_path / "program.py").write_text(
        "import resnet, netspec\n"
        "n = netspec.models.resnet50(); netspec.models.vgg19(); import vgg16, resnet\n"
        "assert resnet.MINE and vgg16.MINE and len(n.to_proto().layer) == 231\n"
        "assert not hasattr(netspec.models.vgg16, 'MINE')\n"
        "import sys; netspec.models.ssd512(); assert 'ssd300' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(MODELS.parent)},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr


def test_the_folder_in_the_package_comes_first(tmp_path, monkeypatch):
    monkeypatch.setattr(bundled, "_IN_WHEEL", tmp_path)
    (tmp_path / "one_net.py").write_text('"""A net. Of mine."""\n')
    assert list(netspec.models.list().items()) == [("one_net", "A net. Of mine")]


def test_models_are_not_loaded_before_they_are_asked_for():
    code = "import netspec, sys; sys.exit('netspec.models' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=PATIENCE_S)
    assert done.returncode == 0


# ---------------------------------------------------------------- the command


def test_the_command_lists_shows_and_copies(tmp_path, capsys):
    assert main([]) == 0
    listed = capsys.readouterr().out
    assert "vgg16 " in listed
    assert "Solvers" in listed
    assert main(["vgg16"]) == 0
    assert capsys.readouterr().out == (MODELS / "vgg16.py").read_text()
    assert main(["vgg19", "-o", str(tmp_path / "new") + "/"]) == 0
    copied = [tmp_path / "new" / name for name in ("vgg19.py", "vgg16.py")]
    assert capsys.readouterr().out.split() == [str(path) for path in copied]
    assert to_text(load_model(copied[0])) == exported("vgg19", deploy=False)
    assert main(["rpn", "-o", str(tmp_path / "new")]) == 0
    assert (tmp_path / "new/rpn/boxes.py").is_file()
    assert main(["lenet_solver", "-o", str(tmp_path / "solver.prototxt")]) == 0
    assert (tmp_path / "solver.prototxt").read_text().startswith("# Trains LeNet")
    capsys.readouterr()
    assert main(["lenet", "-o", str(tmp_path / "mine.py")]) == 0
    assert capsys.readouterr().out.endswith("its net: --net lenet\n")


def test_the_command_replaces_nothing_by_itself(tmp_path, capsys):
    mine = tmp_path / "vgg16.py"
    mine.write_text("mine = 1\n")
    for name, out in (("vgg16", mine), ("vgg19", tmp_path)):
        assert main([name, "-o", str(out)]) == 1
        assert "vgg16.py: is there already, with other" in capsys.readouterr().err
    assert mine.read_text() == "mine = 1\n"
    assert not (tmp_path / "vgg19.py").exists()
    assert main(["vgg19", "-o", str(tmp_path), "--force"]) == 0
    assert mine.read_text() == (MODELS / "vgg16.py").read_text()
    assert main(["vgg19", "-o", str(tmp_path)]) == 0  # the same once more


def test_the_command_says_what_is_wrong(capsys):
    assert main(["lenett"]) == 1
    assert "did you mean 'lenet'" in capsys.readouterr().err
    assert main(["rpn"]) == 1
    assert "is a package of 6 files; copy it with -o FOLDER" in capsys.readouterr().err
    for words in (["--force"], ["-o", "x"], ["lenet", "--force"]):
        with pytest.raises(SystemExit) as caught:
            main(words)
        assert caught.value.code == 2


def test_a_file_that_lacks_a_model_says_where_there_is_one(tmp_path):
    path = tmp_path / "resnet50.py"
    path.write_text("from nin import x\nimport notthere\n")
    with pytest.raises(SpecError, match=r"write from netspec\.models import nin, or"):
        load_model(path)
    path.write_text("import notthere\n")
    with pytest.raises(SpecError, match=r"No module named 'notthere'$"):
        load_model(path)


def test_layers_in_python_of_the_models_are_found_last(tmp_path):
    """`rpn` needs no path; one of the program's own comes before it."""
    program = tmp_path / "program.py"
    program.write_text(
        "import sys, netspec, runtime\n"
        "net = netspec.models.faster_rcnn(deploy=True)\n"
        "net = runtime.Net(net, allow_python=['rpn'])\n"
        "print(sys.modules['rpn'].__file__)\n"
        "assert not any(path.endswith('models') for path in sys.path)\n"
    )

    def done():
        return subprocess.run(
            [sys.executable, program.name],
            cwd=tmp_path,
            env={"PYTHONPATH": str(MODELS.parent)},
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )

    assert done().stdout.strip() == str(MODELS / "rpn" / "__init__.py")
    (tmp_path / "rpn").mkdir()
    (tmp_path / "rpn" / "__init__.py").write_text("")
    assert "'rpn.proposal_layer' cannot be imported" in done().stderr


def test_a_wheel_has_the_folder_where_it_is_looked_for():
    root = MODELS.parent
    build = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["hatch"]
    targets = build["build"]["targets"]
    place = bundled._IN_WHEEL.relative_to(root).as_posix()
    assert targets["wheel"]["force-include"] == {"models": place}
    assert not any("models" in path for path in targets["sdist"]["exclude"])
