"""Weights in torch's own files: only where the operator allows it, and nothing in them is run."""

import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch

from modelyard.api.plugin_tasks import environment_of
from modelyard.errors import NotPermitted, PluginFailed
from modelyard.models_plugin import load_torch_state
from modelyard.models_plugin.environment import plugin_environment
from modelyard.models_plugin.image_classifier.network import Network
from modelyard.models_plugin.image_classifier.normalisation import Normalisation
from modelyard.models_plugin.image_classifier.weights_file import (
    BadWeights,
    WeightsDescription,
    load_network,
    save_weights,
)
from modelyard.models_plugin.plugin import PluginSource
from modelyard.models_plugin.torch_files import ALLOWED
from modelyard.settings.models import ModelSettings


@pytest.fixture
def allowed(monkeypatch):
    monkeypatch.setenv(ALLOWED, "1")


class Attack:
    """Makes a file when it is unpickled."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return os.mkdir, (self.mark,)


def zipped(path, mark):
    torch.save({"weight": torch.zeros(2), "more": Attack(mark)}, path)


def legacy(path, mark):
    torch.save({"more": Attack(mark)}, path, _use_new_zipfile_serialization=False)


def plain(path, mark):
    path.write_bytes(pickle.dumps(Attack(mark)))


def script(path, mark):
    torch.jit.script(torch.nn.Linear(1, 1)).save(path)


def nothing(path, mark):
    path.write_bytes(b"\x80\x02nothing")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("write", [zipped, legacy, plain, script, nothing])
def test_a_file_that_holds_more_than_tensors_is_refused_and_nothing_of_it_is_run(
    allowed, monkeypatch, tmp_path, write
):
    # What somebody may have set for other programs has no effect here.
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    file, mark = tmp_path / "model.pt", tmp_path / "mark"
    write(file, mark)
    with pytest.raises(PluginFailed, match="is not read"):
        load_torch_state(file)
    assert not mark.exists()
    if write is plain:  # so that the file is one that would have done it
        pickle.loads(file.read_bytes())
        assert mark.exists()


def test_without_the_operators_word_not_even_a_good_file_is_read(monkeypatch, tmp_path):
    monkeypatch.delenv(ALLOWED, raising=False)
    with pytest.raises(NotPermitted, match=r"\[models.NAME\] torch_files = true"):
        load_torch_state(tmp_path / "model.pt")


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
def test_a_state_dict_is_read(allowed, tmp_path, wrapper):
    state = torch.nn.Linear(3, 2).state_dict()
    torch.save(state if wrapper is None else {wrapper: state, "epoch": 3}, tmp_path / "a.pt")
    found = load_torch_state(tmp_path / "a.pt")
    assert {name: tensor.tolist() for name, tensor in found.items()} == {
        name: tensor.tolist() for name, tensor in state.items()
    }


def test_what_is_no_state_dict_is_told(allowed, tmp_path):
    torch.save([1, 2], tmp_path / "a.pt")
    with pytest.raises(PluginFailed, match="no state dict"):
        load_torch_state(tmp_path / "a.pt")
    with pytest.raises(FileNotFoundError):
        load_torch_state(tmp_path / "b.pt")


def test_the_setting_reaches_the_models_processes_and_the_servers_variable_does_not():
    own = environment_of(ModelSettings(torch_files=True, env={"A": "b"}))
    assert own == {"A": "b", ALLOWED: "1"}
    assert environment_of(ModelSettings()) == environment_of(None) == {}
    for group in ("modelyard.models", "deepaas.v2.model"):
        source = PluginSource("one", "one:One", group=group)
        assert plugin_environment(source, {}, environ={ALLOWED: "1"}) == {}


@pytest.fixture
def pickled(tmp_path) -> Path:
    """Weights of the built-in classifier, with its tensors as torch writes them."""
    normal = Normalisation((0.5,) * 3, (0.5,) * 3)
    description = WeightsDescription(("a", "b"), normal, 8, 3, "small", {})
    save_weights(tmp_path, description.build(), description)
    (tmp_path / "model.safetensors").rename(tmp_path / "gone")
    torch.save(Network("small", 8, 3, 2).state_dict(), tmp_path / "model.pt")
    return tmp_path


def test_the_classifier_reads_such_weights_where_it_may(allowed, pickled):
    network, description = load_network(pickled, "cpu")
    assert description.classes == ("a", "b")
    assert network(torch.zeros(1, 3, 8, 8)).shape == (1, 2)
    zipped(pickled / "model.pt", pickled / "mark")
    with pytest.raises(BadWeights, match="more than tensors"):
        load_network(pickled, "cpu")
    assert not (pickled / "mark").exists()


def test_the_classifier_tells_where_it_may_not(monkeypatch, pickled):
    monkeypatch.delenv(ALLOWED, raising=False)
    with pytest.raises(BadWeights, match="torch_files"):
        load_network(pickled, "cpu")
    shutil.move(pickled / "gone", pickled / "model.safetensors")
    load_network(pickled, "cpu")  # safetensors go first
