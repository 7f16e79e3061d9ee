"""All old modules on one server: both documents are valid, whatever their arguments are."""

import configparser
from pathlib import Path

import pytest
from openapi_spec_validator import OpenAPIV2SpecValidator, OpenAPIV31SpecValidator

POINTS = (
    Path(__file__).parents[1] / "old_plugins" / "old_modules-0.1.dist-info" / "entry_points.txt"
)


@pytest.mark.slow
def test_both_documents_are_valid_with_every_old_module(start_server, old_base):
    points = configparser.ConfigParser()
    points.read(POINTS)
    names = [name for name in points["deepaas.v2.model"] if name != "old-broken-import"]
    assert len(names) > 30
    server = start_server("--model-name", ",".join(names), env={"OLD_MODULES_BASE": str(old_base)})
    for name in names:
        assert server.wait_ready(name, timeout=120)["state"] == "ready"
    OpenAPIV31SpecValidator(server.get("/openapi.json").json()).validate()
    OpenAPIV2SpecValidator(server.get("/swagger.json").json()).validate()
