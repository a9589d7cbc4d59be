#!/bin/sh
# Downloads into .whl, which git ignores, what a machine with a GPU but without a network
# lacks: `sh tools/gpu_wheels.sh [FOLDER]`. `tools/gpu_check.py` installs it there.
#
# They are for Python 3.12 on x86-64 Linux; PYTHON_VERSION and PLATFORMS name another.
# CuPy, cuDNN and PyTorch are too large to bring and must be there.
set -eu

folder=${1:-.whl}
python=${PYTHON:-python3}
version=${PYTHON_VERSION:-3.12}
platforms=${PLATFORMS:-manylinux_2_28_x86_64 manylinux_2_27_x86_64
  manylinux_2_17_x86_64 manylinux2014_x86_64}
packages="nvidia-cudnn-frontend==1.32.0 lmdb==3.0.0"

options=""
for platform in $platforms; do
  options="$options --platform $platform"
done
mkdir -p "$folder"
rm -f "$folder"/*.whl
# shellcheck disable=SC2086  # words of options and packages
"$python" -m pip download --quiet --disable-pip-version-check --no-deps \
  --only-binary=:all: --implementation cp --python-version "$version" $options \
  --dest "$folder" $packages
ls -l "$folder"
