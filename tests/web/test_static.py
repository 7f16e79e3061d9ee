"""Swagger UI's files: complete, unchanged, and without a way to the outside."""

import hashlib
import re

import pytest

from modelyard.web import SWAGGER_UI_VERSION, static_file

OWN = ("index.html", "initializer.js", "page.css")


def read(name):
    path = static_file("swagger-ui", name)
    assert path is not None, name
    return path.read_bytes()


def test_vendored_files_are_those_that_were_published():
    lines = read("SHA256SUMS").decode().splitlines()
    assert len(lines) == 6
    for line in lines:
        digest, name = line.split()
        assert hashlib.sha256(read(name)).hexdigest() == digest, name


def test_the_licence_comes_along():
    assert b"Apache License" in read("LICENSE")
    assert b"SmartBear" in read("NOTICE")
    assert SWAGGER_UI_VERSION in read("README.md").decode()


@pytest.mark.parametrize("name", OWN)
def test_our_page_names_no_outside_host(name):
    assert not re.search(rb"(https?:)?//[a-z]", read(name).replace(b"// ", b""))


def test_the_page_has_no_inline_script_or_style():
    page = read("index.html").decode()
    assert re.findall(r"<script[^>]*>(.*?)</script>", page) == ["", ""]
    assert "<style" not in page and " style=" not in page and " onload=" not in page


def test_every_file_that_the_page_asks_for_is_there():
    names = re.findall(r'(?:src|href)="([^"]+)"', read("index.html").decode())
    assert "../openapi.json" in names
    for name in names:
        assert name.startswith("../") or static_file("swagger-ui", name) is not None


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../swagger-ui/index.html", "nothing.js", "/etc/passwd"]
)
def test_a_name_is_never_a_way_out_of_the_folder(name):
    assert static_file("swagger-ui", name) is None
