"""The generator of what is derived from the .proto."""

import shutil
from pathlib import Path

import pytest

pytest.importorskip("grpc_tools", reason="needs protoc, of grpcio-tools")

from tools.gen_schema import PROTO, ROOT, comments_of, compile_proto, main

DERIVED = ("netspec/schema/netspec.desc", "netspec/schema/__init__.pyi")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the schema and of what is derived from it."""
    for name in (PROTO, *DERIVED):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_committed_files_are_up_to_date():
    assert main(["--check"]) == 0


def test_a_changed_default_is_noticed_and_written(tree, capsys):
    proto = tree / PROTO
    text = proto.read_text()
    assert "uint32 local_size = 1 [default = 5]" in text
    proto.write_text(text.replace("local_size = 1 [default = 5]", "local_size = 1"))
    before = (tree / DERIVED[0]).read_bytes()
    assert main(["--check"], root=tree) == 1
    assert f"{DERIVED[0]}: differs" in capsys.readouterr().out
    assert (tree / DERIVED[0]).read_bytes() == before
    assert main([], root=tree) == 0
    assert (tree / DERIVED[0]).read_bytes() != before
    assert main(["--check"], root=tree) == 0


def test_a_changed_comment_changes_the_stub_only(tree, capsys):
    proto = tree / PROTO
    text = proto.read_text()
    assert "// Number of output channels." in text
    proto.write_text(text.replace("// Number of output channels.", "// Filters."))
    assert main(["--check"], root=tree) == 1
    said = capsys.readouterr().out
    assert f"{DERIVED[1]}: differs" in said
    assert DERIVED[0] not in said


def test_every_current_message_and_field_has_a_comment():
    file = compile_proto()
    comments = comments_of(file)
    silent = [
        f"{message.name}.{field.name}"
        for message in file.message_type
        if message.name not in ("V1LayerParameter", "V0LayerParameter")
        for field in message.field
        if f"{message.name}.{field.name}" not in comments
    ]
    assert silent == []
    assert {message.name for message in file.message_type} <= comments.keys()
    assert all(text.endswith((".", ".)")) for text in comments.values())
