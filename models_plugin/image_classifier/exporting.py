"""A trained network in formats that run without us: ONNX, and PyTorch's own `torch.export`.

Both take pictures as they are decoded, uint8 (n, channels, size, size) for any n from 1, and give
probabilities, float32 (n, classes): scaling, normalisation and softmax are inside. What was written
is read again and asked for its answers to sample pictures. Runs in a plugin task's process.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...errors import NotSupported
from .network import Network, scaled
from .weights_file import WeightsDescription

_INPUT, _OUTPUT = "pictures", "probabilities"
_INSTALL = "pip install 'modelyard[export]'"
_TOLERANCE = 1e-3
"""Of a probability: a larger difference is a wrong export, no other order of additions."""
_BATCHES = (1, 2, 13)  # sizes of the sample batches: the first axis must really be free

Pictures = np.ndarray[Any, Any]
Answers = Callable[[Pictures], Pictures]


class Exported(nn.Module):
    """From decoded pictures to probabilities, as one module."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: Tensor) -> Tensor:
        return self.network(pictures.float() / 255).softmax(1)


class WrongExport(Exception):
    """The exported network does not answer as the original does."""


def export_network(
    network: Network, description: WeightsDescription, wanted: str, folder: Path
) -> dict[str, Any]:
    """Writes one of EXPORT_FORMATS into `folder` and compares its answers with the network's own.

    Returns `max_difference` (of any probability), `samples` (pictures compared), and what its user
    has to know: `input`, `output`, `classes`. Raises NotSupported with the remedy if a library is
    missing, and WrongExport.
    """
    side, channels = description.image_size, description.channels
    write = _write_onnx if wanted == "onnx" else _write_torch_export
    exported = write(Exported(network).eval(), description, folder)
    batches = sample_pictures(channels, side)
    difference = max(
        float(np.abs(exported(batch) - _original(network, batch)).max()) for batch in batches
    )
    if not difference <= _TOLERANCE:  # NaN, too
        raise WrongExport(f"its probabilities differ by up to {difference:g} from the original's")
    return {
        "max_difference": difference,
        "samples": sum(_BATCHES),
        "input": {"name": _INPUT, "dtype": "uint8", "shape": [-1, channels, side, side]},
        "output": {
            "name": _OUTPUT,
            "dtype": "float32",
            "shape": [-1, len(description.classes)],
        },
        "classes": list(description.classes),
    }


def sample_pictures(channels: int, side: int) -> list[Pictures]:
    """uint8 batches, always the same: noise, slopes and single colours, black and white with it."""
    generator = np.random.default_rng(0)
    slope = np.linspace(0, 255, side).astype(np.uint8)
    pictures = [
        np.zeros((channels, side, side), np.uint8),
        np.full((channels, side, side), 255, np.uint8),
        np.broadcast_to(slope, (channels, side, side)),
        np.broadcast_to(slope[:, None], (channels, side, side)),
    ]
    while len(pictures) < sum(_BATCHES):
        low, high = sorted(generator.integers(0, 256, 2).tolist())
        pictures.append(generator.integers(low, high + 1, (channels, side, side)).astype(np.uint8))
    ends = np.cumsum(_BATCHES)[:-1]
    return np.split(np.stack(pictures), ends)


@torch.inference_mode()
def _original(network: Network, pictures: Pictures) -> Pictures:
    answers: Pictures = network(scaled(torch.from_numpy(pictures))).softmax(1).numpy()
    return answers


def _example(description: WeightsDescription) -> Tensor:
    side = description.image_size
    # Two pictures: a first axis of one would be taken for always one.
    return torch.zeros((2, description.channels, side, side), dtype=torch.uint8)


def _write_torch_export(module: Exported, description: WeightsDescription, folder: Path) -> Answers:
    free = {"pictures": {0: torch.export.Dim("n", min=1)}}
    program = torch.export.export(module, (_example(description),), dynamic_shapes=free)
    file = folder / "model.pt2"
    torch.export.save(program, file, extra_files={"classes.json": _classes(description)})
    read = torch.export.load(file).module()

    def answers(pictures: Pictures) -> Pictures:
        with torch.inference_mode():
            told: Pictures = read(torch.from_numpy(pictures)).numpy()
            return told

    return answers


def _write_onnx(module: Exported, description: WeightsDescription, folder: Path) -> Answers:
    missing = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
    if missing:
        raise NotSupported(
            f"Exporting to ONNX needs {' and '.join(missing)} in the server's environment: "
            f"{_INSTALL}"
        )
    program = torch.onnx.export(
        module,
        (_example(description),),
        input_names=[_INPUT],
        output_names=[_OUTPUT],
        dynamic_shapes={"pictures": {0: torch.export.Dim("n", min=1)}},
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    program.model.metadata_props["classes"] = _classes(description)
    file = folder / "model.onnx"
    program.save(file, external_data=False)
    return _onnx_answers(file)


def _onnx_answers(file: Path) -> Answers:
    """By onnxruntime where it is installed, else by ONNX's own slow reference."""
    if find_spec("onnxruntime") is None:
        from onnx.reference import ReferenceEvaluator  # only where it is asked for: 1 s

        session: Any = ReferenceEvaluator(str(file))
    else:
        import onnxruntime  # type: ignore[import-untyped,unused-ignore]

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(
            str(file), options, providers=["CPUExecutionProvider"]
        )

    def answers(pictures: Pictures) -> Pictures:
        told: Pictures = session.run([_OUTPUT], {_INPUT: pictures})[0]
        return told

    return answers


def _classes(description: WeightsDescription) -> str:
    return json.dumps(list(description.classes), ensure_ascii=False)
