"""export and read_dataset: what a plugin offers of them, and what is wrong with it, at the door."""

import pytest

from modelyard.errors import PluginFailed
from modelyard.models_plugin import Model
from modelyard.models_plugin.native import NativePlugin
from modelyard.models_plugin.plugin import PluginSource


def plugin(**names):
    def predict(self):
        return None

    target = type("Mine", (Model,), {"predict": predict, **names})()
    return NativePlugin(PluginSource("mine", "somewhere:Mine"), target)


def export(self, format, folder):
    return {"max_difference": 0.0, "samples": 1}


def test_a_model_tells_the_formats_that_it_can_write():
    assert plugin().describe().export_formats == []
    assert plugin(export_formats=("onnx",)).describe().export_formats == []  # no export()
    described = plugin(export_formats=("onnx", "gguf"), export=export).describe()
    assert described.export_formats == ["onnx", "gguf"]
    assert "read_dataset" not in described.capabilities


def test_a_model_with_a_reader_of_datasets_says_so():
    described = plugin(read_dataset=lambda self, folder: {}).describe()
    assert "read_dataset" in described.capabilities


@pytest.mark.parametrize("formats", ["onnx", ["ONNX"], ["../x"], ["a b"], [""], ["a" * 51]])
def test_formats_that_cannot_be_part_of_an_address_are_refused(formats):
    with pytest.raises(PluginFailed, match="export_formats"):
        plugin(export_formats=formats, export=export).describe()


@pytest.mark.parametrize("formats", [[1], 5, None])
def test_formats_that_are_no_list_of_texts_are_refused(formats):
    with pytest.raises(PluginFailed, match="tuple of names"):
        plugin(export_formats=formats, export=export).describe()


def test_an_export_with_another_signature_is_told_how_to_write_it():
    with pytest.raises(PluginFailed, match=r"Write export\(self, format, folder\)"):
        plugin(export=lambda self: None)
    with pytest.raises(PluginFailed, match="export is str, not a method"):
        plugin(export="onnx")
