"""What an entry point `deepaas.v2.model` may name, and the metadata that modules give.

The bodies compared with are what DEEPaaS 2.6.0 answered for the same modules.
"""

import pytest

MODELS = (
    "old-demo",
    "old-plain",
    "old-only-metadata",
    "old-only-predict",
    "old-class",
    "old-base",
    "old-instance",
    "old-meta-file",
    "old-meta-raises",
    "old-meta-own",
    "old-warm",
)


@pytest.fixture(scope="module")
def server(serve_old):
    return serve_old(*MODELS)


def test_a_class_of_static_methods_is_served(server, predictions):
    assert predictions(server.predict("old-class", params={"number": "2"})) == {"twice": 4}


def test_a_subclass_of_base_model_is_served(server):
    answer = server.predict("old-base", json={"number": 2})
    assert (answer.status_code, answer.json()) == (200, {"thrice": 6})


def test_an_object_is_served_and_keeps_its_state(server, predictions):
    first = predictions(server.predict("old-instance"))
    assert predictions(server.predict("old-instance"))["calls"] == first["calls"] + 1


def test_a_module_of_metadata_alone_is_listed_and_answers_501(server):
    assert server.get("/v2/models/old-only-metadata/").json()["name"] == "only-metadata"
    for endpoint in ("predict", "train"):
        answer = server.post(f"/v2/models/old-only-metadata/{endpoint}/")
        assert answer.status_code == 501
        assert "old-only-metadata" in answer.json()["message"]


def test_a_module_of_one_function_predicts_without_arguments(server, predictions):
    answer = server.predict("old-only-predict", params={"nobody": "asked"})
    assert predictions(answer) == {"got": {}}
    assert server.post("/v2/models/old-only-predict/train/").status_code == 501


def test_a_template_not_filled_in_is_served_and_says_501(server):
    answer = server.predict("old-plain")
    assert answer.status_code == 501
    assert answer.json()["message"]


def test_a_training_not_filled_in_ends_as_an_error(server):
    ended = server.wait_run(server.train("old-plain"))
    assert ended["status"] == "error"
    assert ended["message"]


def test_metadata_of_the_distribution_are_shown(server):
    shown = server.get("/v2/models/old-demo/").json()
    assert shown["id"] == "old-demo"
    assert shown["name"] == "old-modules"
    assert shown["summary"] == "Modules as people wrote them for DEEPaaS"
    assert shown["author"] == "A. Modeller"
    assert shown["author-email"] == '"A. Modeller" <modeller@example.org>'
    assert shown["version"] == "0.1"


def test_metadata_of_a_file_above_the_package_are_shown(server):
    shown = server.get("/v2/models/old-meta-file/").json()
    assert (shown["title"], shown["name"]) == ("A title", "filed")


def test_a_module_without_metadata_gets_a_generic_description(server):
    shown = server.get("/v2/models/old-warm/").json()
    assert shown["name"] == "old-warm"
    assert shown["description"].startswith("Could not load description from underlying model")
    assert shown["summary"] == "Modules as people wrote them for DEEPaaS"  # of its distribution
    assert shown["license"] == "MIT"


def test_a_module_whose_metadata_raise_is_served_with_the_cause(server, predictions):
    shown = server.get("/v2/models/old-meta-raises/").json()
    assert "authors" in shown["description"]
    assert predictions(server.predict("old-meta-raises")) == "predicted all the same"


def test_metadata_of_any_shape_are_handed_on(server):
    shown = server.get("/v2/models/old-meta-own/").json()
    assert shown["name"] == "A name with blanks"
    assert shown["tags"] == ["image", "2d"]
    assert shown["date"] == 2026
    assert shown["author-email"] is None


def test_the_list_names_every_model_with_its_address(server):
    models = server.get("/v2/models/").json()["models"]
    assert sorted(model["id"] for model in models) == sorted(MODELS)
    for model in models:
        (own,) = [link for link in model["links"] if link["rel"] == "self"]
        assert own["href"].rstrip("/") == f"/v2/models/{model['id']}"
        assert server.get(own["href"]).json()["id"] == model["id"]


def test_warm_is_called_before_the_first_prediction(server, predictions):
    assert predictions(server.predict("old-warm"))["warmed"] is True
