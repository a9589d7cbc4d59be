#!/bin/sh
# protobuf's two readers of text each take numbers and strings that the other refuses.
#
# Versions: protobuf 7.36.2 (text_format of Python), grpcio-tools 1.85.1 (its protoc,
# whose reader of text is that of C++).
# Expected: one format, written down, so both readers take the same text; Python's may
# be more lenient in this or that.
# Happens: Python takes what its int() and float() take: underscores, digits of other
# scripts, a plus, 0b and 0o. protoc refuses them, but takes a sign apart from its
# number, other spellings of a bool, and an escape "\400" that it cuts to eight bits.
# So reading a prototxt with Python does not show that Caffe or OpenCV, which are C++,
# can read it.
# Remedy: digits of ASCII only, no underscore, no plus; a sign next to its number.
# Seen (Python, protoc; - is refused):
#   f: 1_000 1000.0 -; f: ٣ 3.0 -; f: +5 5.0 -; i: 0b11 3 -; i: 0o17 15 -
#   f: - 5 - -5.0; i: - 5 - -5; b: 01 - true; b: 0x1 - true; s: "\400" - "\000"
#   f: 1F 1.0 1.0; i: 0x1F 31 31; i: 017 15 15
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
  protobuf==7.36.2 grpcio-tools==1.85.1 grpcio==1.85.1 setuptools==80.9.0 \
  typing-extensions==4.16.0
cd "$folder"
PYTHONIOENCODING=utf-8 "$folder/venv/bin/python" - <<'PYTHON'
import subprocess
import sys

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
)

PROTO = """syntax = "proto2";
message All {
  optional float f = 1;
  optional int32 i = 2;
  optional bool b = 3;
  optional string s = 4;
}
"""
with open("all.proto", "w") as file:
    file.write(PROTO)
protoc = [sys.executable, "-m", "grpc_tools.protoc", "-I."]
subprocess.run([*protoc, "--descriptor_set_out=all.bin", "all.proto"], check=True)
with open("all.bin", "rb") as file:
    files = descriptor_pb2.FileDescriptorSet.FromString(file.read())
pool = descriptor_pool.DescriptorPool()
pool.Add(files.file[0])
All = message_factory.GetMessageClass(pool.FindMessageTypeByName("All"))


def value(message):
    return text_format.MessageToString(message, as_one_line=True).partition(": ")[2]


def by_python(text):
    try:
        return value(text_format.Parse(text, All()))
    except text_format.ParseError:
        return "-"


def by_protoc(text):
    command = [*protoc, "--encode=All", "all.proto"]
    done = subprocess.run(command, input=text.encode(), capture_output=True)
    return "-" if done.returncode else value(All.FromString(done.stdout))


wanted = {
    "f: 1_000": "1000.0 -", "f: \u0663": "3.0 -", "f: +5": "5.0 -",
    "i: 0b11": "3 -", "i: 0o17": "15 -",
    "f: - 5": "- -5.0", "i: - 5": "- -5", "b: 01": "- true", "b: 0x1": "- true",
    r's: "\400"': r'- "\000"',
    "f: 1F": "1.0 1.0", "i: 0x1F": "31 31", "i: 017": "15 15",
}  # fmt: skip
found = {text: f"{by_python(text)} {by_protoc(text)}" for text in wanted}
print("; ".join(f"{text} {both}" for text, both in found.items()))
if found != wanted:
    sys.exit("changed")
PYTHON
