#!/usr/bin/env bash
# Installs the project, which lies in ~/rso-sweep, into ~/rso-sweep-env on a machine of a cluster.
#
#   RAY_VERSION=2.60.0 PYTHON_VERSION=3.11 bash install.sh
#
# The head installs the newest versions that fit and lists them in ~/rso-sweep/versions.txt. A worker,
# for which the launcher sets RAY_HEAD_IP, finds that list there, and installs the same versions. It
# can be run again at any time, and changes only what has changed.
set -euo pipefail
environment=~/rso-sweep-env
versions=~/rso-sweep/versions.txt
export PIP_DISABLE_PIP_VERSION_CHECK=1

if [ ! -x "$environment/bin/python" ]; then
  if command -v "python$PYTHON_VERSION" > /dev/null; then
    "python$PYTHON_VERSION" -m venv "$environment"
  else # uv brings a Python of that version along
    python3 -m venv ~/.rso-sweep-uv
    ~/.rso-sweep-uv/bin/pip install -q uv
    ~/.rso-sweep-uv/bin/uv venv -q --seed --python "$PYTHON_VERSION" "$environment"
  fi
fi
pip() { "$environment/bin/python" -m pip "$@"; }

constraints="$(mktemp)"
trap 'rm -f "$constraints"' EXIT
if [ -n "${RAY_HEAD_IP:-}" ]; then cp "$versions" "$constraints"; fi
echo "ray==$RAY_VERSION" >> "$constraints"

# Of torch there is a build for CPUs, a tenth the size of the one with CUDA. It is on an index of its
# own, which uv knows; where that cannot be reached, the other build works as well.
if ! command -v nvidia-smi > /dev/null && ! "$environment/bin/python" -c 'import torch' 2> /dev/null; then
  pip install -q uv
  "$environment/bin/uv" pip install -q --python "$environment/bin/python" --torch-backend cpu \
    --constraint "$constraints" torch torchvision || echo "torch is installed with CUDA"
fi
pip install -q --constraint "$constraints" ~/rso-sweep

if [ -z "${RAY_HEAD_IP:-}" ]; then
  # +cpu and the like is dropped: a worker with a GPU has the same version in another build
  pip freeze --exclude rso-sweep | grep -v ' @ ' | sed 's/+[a-z0-9.]*$//' > "$versions"
fi

# at the top of ~/.bashrc, whose rest is often for people only
begin=". ~/rso-sweep/sweeps/cluster/environment.sh"
touch ~/.bashrc
if ! grep -qxF "$begin" ~/.bashrc; then
  { echo "$begin"; cat ~/.bashrc; } > ~/.bashrc.new
  mv ~/.bashrc.new ~/.bashrc
fi
