"""A trained network in other formats answers as it does itself, whatever batch it gets."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from modelyard.errors import NotSupported
from modelyard.models_plugin.image_classifier import exporting
from modelyard.models_plugin.image_classifier.exporting import (
    WrongExport,
    export_network,
    sample_pictures,
)
from modelyard.models_plugin.image_classifier.normalisation import Normalisation
from modelyard.models_plugin.image_classifier.predicting import Predictor
from modelyard.models_plugin.image_classifier.weights_file import WeightsDescription, save_weights

CLASSES = ("bird", "ärger", "猫")
SIDE, CHANNELS = 16, 3


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A network whose answers differ from picture to picture, as a trained one's do."""
    normal = Normalisation((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    description = WeightsDescription(CLASSES, normal, SIDE, CHANNELS, "small", {})
    network = description.build()
    network.start(1)
    network.normalise(normal)
    generator = torch.Generator().manual_seed(1)
    torch.nn.init.normal_(network.head.weight, std=0.5, generator=generator)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
    folder = tmp_path_factory.mktemp("weights")
    save_weights(folder, network, description)
    return Predictor(folder, "cpu")


@pytest.mark.parametrize(
    ("wanted", "file"),
    [
        ("onnx", "model.onnx"),
        pytest.param("torch_export", "model.pt2", marks=pytest.mark.slow),
    ],
)
def test_an_export_takes_bytes_of_pictures_and_gives_the_originals_probabilities(
    trained, tmp_path, wanted, file
):
    told = trained.export(wanted, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [file]
    assert 0 <= told["max_difference"] < 1e-5
    assert told["samples"] == 16
    assert told["input"] == {"name": "pictures", "dtype": "uint8", "shape": [-1, 3, SIDE, SIDE]}
    assert told["classes"] == list(CLASSES)
    # In an interpreter that has nothing of ours.
    pictures = np.random.default_rng(7).integers(0, 256, (5, 3, SIDE, SIDE)).astype(np.uint8)
    np.save(tmp_path / "in.npy", pictures)
    done = subprocess.run(
        [sys.executable, "-I", "-c", STRANGERS[wanted], str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    answers = np.load(tmp_path / "out.npy")
    assert answers.dtype == np.float32 and answers.shape == (5, 3)
    original = trained._probabilities(pictures).numpy()
    np.testing.assert_allclose(answers, original, atol=1e-5)
    assert original.std(axis=0).max() > 0.01  # the comparison would notice a constant
    assert json.loads(done.stdout) == list(CLASSES)


STRANGERS = {
    "onnx": """
import json, sys, numpy as np, onnxruntime
folder = sys.argv[1]
session = onnxruntime.InferenceSession(folder + '/model.onnx')
np.save(folder + '/out.npy', session.run(None, {'pictures': np.load(folder + '/in.npy')})[0])
print(session.get_modelmeta().custom_metadata_map['classes'])
assert not [name for name in sys.modules if name.startswith(('torch', 'modelyard'))]
""",
    "torch_export": """
import sys, numpy as np, torch
folder, extra = sys.argv[1], {'classes.json': ''}
module = torch.export.load(folder + '/model.pt2', extra_files=extra).module()
with torch.inference_mode():
    np.save(folder + '/out.npy', module(torch.from_numpy(np.load(folder + '/in.npy'))).numpy())
print(extra['classes.json'])
assert not [name for name in sys.modules if name.startswith('modelyard')]
""",
}


def test_sample_pictures_are_the_same_every_time_and_hold_black_and_white():
    first, again = sample_pictures(3, 8), sample_pictures(3, 8)
    assert [batch.shape for batch in first] == [(n, 3, 8, 8) for n in (1, 2, 13)]
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    pictures = np.concatenate(first)
    assert pictures.dtype == np.uint8 and (pictures[0] == 0).all() and (pictures[1] == 255).all()


def test_an_export_that_answers_otherwise_is_refused(trained, tmp_path, monkeypatch):
    class Forgetful(exporting.Exported):
        """Forgets to scale."""

        def forward(self, pictures):
            return self.network(pictures.float()).softmax(1)

    monkeypatch.setattr(exporting, "Exported", Forgetful)
    with pytest.raises(WrongExport, match="differ by up to"):
        export_network(trained._network, trained.description, "torch_export", tmp_path)


def test_without_its_libraries_onnx_is_refused_with_the_command_that_installs_them(
    trained, tmp_path, monkeypatch
):
    monkeypatch.setattr(exporting, "find_spec", lambda name: None)
    with pytest.raises(
        NotSupported, match=r"onnx and onnxscript.*pip install 'modelyard\[export\]'"
    ):
        trained.export("onnx", tmp_path)
    assert list(tmp_path.iterdir()) == []
