#!/usr/bin/env bash
# Makes the environments of the peers: setup.sh FOLDER [PEER ...]. What is there already is kept.
#
# Each has a virtual environment of its own below FOLDER; all see the torch, numpy and pillow of
# FOLDER/torch (a .pth file names its packages after their own), so that everybody runs the same
# kernels. About 2 GB and five minutes. Needs python3.11 (or PYTHON=...), PyPI and a C compiler.
set -euo pipefail
folder=${1:?usage: setup.sh FOLDER [PEER ...]}
shift
peers=("$@")
[ ${#peers[@]} -gt 0 ] || peers=(deepaas litserve mlserver fastapi triton)
python=${PYTHON:-python3}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

if [ ! -e "$folder/torch/done" ]; then
    "$python" -m venv --clear "$folder/torch"
    # From PyTorch's own index (TORCH_INDEX=...) this is the build without CUDA.
    "$folder/torch/bin/pip" install -q ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch==2.13.0
    "$folder/torch/bin/pip" install -q numpy==2.4.6 pillow
    touch "$folder/torch/done"
fi
shared=$("$folder/torch/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')

make() { # NAME REQUIREMENT...
    local name=$1 own
    shift
    [ ! -e "$folder/$name/done" ] || return 0
    echo "making $folder/$name" >&2
    "$python" -m venv --clear --without-pip "$folder/$name"
    own=$("$folder/$name/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    "$folder/torch/bin/python" -m pip --python "$folder/$name/bin/python" install -q --no-warn-script-location "$@"
    echo "$shared" >"$own/zz_torch.pth"
    # Triton's embedded interpreter does not start with the standard library of Python 3.11.5 on.
    [ "$name" != triton ] || cat "$here/peers/triton_lock.py" >>"$own/pytriton/proxy/data.py"
    "$folder/$name/bin/python" -c 'import torch, numpy, PIL'
    touch "$folder/$name/done"
}

for peer in "${peers[@]}"; do
    case $peer in
    deepaas) make deepaas deepaas==2.6.0 'marshmallow>=3,<4' webargs==5.5.3 'setuptools<81' ;;
    litserve) make litserve litserve==0.2.19 uvloop httptools python-multipart ;;
    mlserver) make mlserver mlserver==1.7.1 'uvloop<0.22' ;;
    fastapi) make fastapi fastapi==0.165.0 uvicorn==0.54.0 uvloop httptools ;;
    triton) make triton nvidia-pytriton ;;
    *) echo "no such peer: $peer" >&2 && exit 2 ;;
    esac
done
