"""Plugins are found by package metadata alone, and nothing of theirs is imported."""

import subprocess
import sys

import pytest

from modelyard.errors import ModelFailedToLoad
from modelyard.models_plugin.discovery import list_sources


def install(folder, name, *points, requires=(), deepaas=()):
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    lines = [f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0", *requires]
    (info / "METADATA").write_text("\n".join(lines) + "\n")
    groups = {"modelyard.models": points, "deepaas.v2.model": deepaas}
    text = "".join(f"[{group}]\n" + "\n".join(lines) + "\n" for group, lines in groups.items())
    (info / "entry_points.txt").write_text(text)


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_installed_models_are_found_and_not_imported(site):
    install(site, "one", "first = a_module_that_is_not_there:Model")
    sources = {source.name: source for source in list_sources()}
    assert sources["first"].value == "a_module_that_is_not_there:Model"
    assert (sources["first"].distribution, sources["first"].distribution_version) == ("one", "1.0")


def test_two_plugins_of_one_name_are_told_with_both_packages(site):
    install(site, "one", "same = a:A")
    install(site, "two", "same = b:B")
    (source,) = list_sources(["same"])
    assert (
        "one" in source.problem and "two" in source.problem and "rename" in source.problem.lower()
    )


def test_deepaas_modules_are_found_too(site):
    install(site, "one", "first = a:A", deepaas=["old = old.api", "older = older.api:Old"])
    sources = {source.name: source for source in list_sources()}
    assert (sources["old"].value, sources["old"].group) == ("old.api", "deepaas.v2.model")
    assert sources["older"].value == "older.api:Old"


def test_a_package_that_offers_a_model_by_both_contracts_is_taken_by_ours(site):
    install(site, "one", "both = new:New", deepaas=["both = old.api"])
    (source,) = list_sources(["both"])
    assert (source.value, source.group, source.problem) == ("new:New", "modelyard.models", None)


def test_two_packages_with_one_name_in_different_groups_are_told(site):
    install(site, "one", "same = new:New")
    install(site, "two", deepaas=["same = old.api"])
    (source,) = list_sources(["same"])
    assert "one (new:New)" in source.problem and "two (old.api)" in source.problem


def test_an_entry_point_that_names_no_module_is_told(site):
    install(site, "one", "odd = a module?")
    (source,) = list_sources(["odd"])
    assert "Write it as package.module:attribute" in source.problem


def test_a_name_that_cannot_stand_in_an_address_is_told(site):
    install(site, "one", "a model/../x = a:A")
    source = next(source for source in list_sources() if source.distribution == "one")
    assert "URL" in source.problem


def test_the_built_in_model_is_served_when_named_or_when_nothing_else_is_there(site):
    install(site, "one", "first = a:A")
    assert "image-classifier" not in [source.name for source in list_sources()]
    assert [source.name for source in list_sources(["image-classifier"])] == ["image-classifier"]


def test_a_model_whose_extra_is_not_installed_is_not_offered(site):
    requires = ["Provides-Extra: big", 'Requires-Dist: a-package-nobody-has; extra == "big"']
    install(site, "one", "plain = a:A", "heavy = a:B [big]", requires=requires)
    names = [source.name for source in list_sources()]
    assert "plain" in names and "heavy" not in names


def test_a_name_that_is_not_installed_is_refused_with_what_there_is(site):
    install(site, "one", "first = a:A")
    with pytest.raises(ModelFailedToLoad, match=r"'nobody'.*first"):
        list_sources(["nobody"])


def test_finding_plugins_imports_neither_torch_nor_a_plugin():
    code = (
        "import sys; from modelyard.models_plugin.discovery import list_sources; list_sources();"
        "print([m for m in sys.modules if m.startswith(('torch', 'aiohttp', 'boto3'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
