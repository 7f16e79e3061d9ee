"""The model card: tells what the manifest tells, and a stranger's text stays text."""

import json
import re

import pytest
from markdown_it import MarkdownIt

from modelyard.storage.archives.card import model_card
from modelyard.storage.archives.curves import chosen, sparkline
from modelyard.storage.archives.markdown import escaped

MANIFEST = {
    "id": "a" * 32,
    "model": "cats-and-dogs",
    "created_at": "2026-11-21T10:00:00+00:00",
    "origin": "training",
    "run": "b" * 32,
    "parent": "c" * 32,
    "step": 120,
    "metrics": {"accuracy": 0.91234567, "loss": 0.25},
    "files": [{"path": "model.safetensors", "size": 2048, "sha256": "d" * 64}],
    "dataset": {"id": "e" * 32, "name": "pets", "digest": "f" * 64},
    "lineage": {
        "arguments": {"epochs": 3, "augment": True, "sizes": [1, 2]},
        "seed": 7,
        "uploads": [{"field": "data", "filename": "pets.zip", "size": 3, "sha256": "9" * 64}],
        "environment": {
            "python": "3.11.9",
            "cuda": None,
            "gpus": [],
            "threads": 2,
            "packages": {"numpy": "2.0", "torch": "2.13"},
        },
        "code": {
            "distribution": "pets",
            "version": "1.2",
            "licence": "MIT",
            "git": {"commit": "abc", "dirty": True},
        },
        "curves": {"loss": [[step, 1 / (step + 1)] for step in range(100)]},
    },
}


def html(manifest: dict) -> str:
    return (
        MarkdownIt("commonmark")
        .enable(["table", "strikethrough"])
        .render(model_card(manifest).decode())
    )


def test_the_card_tells_data_arguments_metrics_curves_environment_and_licence():
    page = html(MANIFEST)
    sections = re.findall(r"<h2>(.*?)</h2>", page)
    for section in ("Data", "Arguments", "Metrics", "Curves", "Code", "Environment", "Licence"):
        assert section in sections
    cells = set(re.findall(r"<td>(.*?)</td>", page))
    assert {"pets", "e" * 32, "epochs", "3", "yes", "1, 2", "0.912346", "3.11.9", "numpy", "abc",
            "pets.zip", "Git commit", "model.safetensors",
            "2.0 KiB (2048 bytes)", "7", "b" * 32} <= cells  # fmt: skip
    assert "<td>MIT</td>" in page and "<h3>loss</h3>" in page
    assert "Thread limit" in cells and "Threads" not in cells
    assert re.search("<code>[▁▂▃▄▅▆▇█]{50}</code>", page)
    first, last = "<td>0</td>\n<td>1</td>", "<td>99</td>\n<td>0.01</td>"
    assert first in page and last in page


def test_the_card_of_a_version_of_which_little_is_known_says_so():
    text = model_card({"id": "a" * 32, "model": "m", "files": []}).decode()
    assert text.count("Not recorded.") == 4 and "Not stated." in text


HOSTILE = [
    "<script>alert(1)</script>", "[click](http://evil.example)", "![x](http://evil.example/x.png)",
    "a | b | c", "line\n\n# Heading", "line\r\n| a | b |\n| --- | --- |", "`code` ``", "**b** _i_",
    "http://evil.example/x", "www.evil.example", "<http://evil.example>", "&lt;b&gt; &#60;",
    "\\", "\\|", "~~gone~~", "\u202eright to left", "\x00\x1b[31m", "- item", "1. item", "> quote",
    "---", "===", "x" * 5000, "\ud800", "$$x$$", "[^1]", "<!-- comment", "mailto:a@b.example",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: repr(text)[:30])
def test_strangers_text_is_never_more_than_text(text):
    sound = {
        "id": text,
        "model": text,
        "created_at": text,
        "metrics": {text: text},
        "dataset": {"name": text, text: 1},
        "files": [{"path": text, "size": 1, "sha256": text}],
        "lineage": {
            "arguments": {text: text},
            "uploads": [{"filename": text, "sha256": text}],
            "environment": {"packages": {text: text}, "python": text},
            "code": {"licence": text, text: text},
            "curves": {text: [[1, 2], [2, 3]]},
            "git": {text: text},
            text: {text: text},
        },
    }
    plain = json.loads(json.dumps(sound).replace(json.dumps(text), '"word"'))
    page, expected = html(sound), html(plain)
    tags = re.compile(r"<(/?\w+)[^>]*>")
    assert tags.findall(page) == tags.findall(expected), "it changed the page's shape"
    assert "\u202e" not in page and "\x1b" not in page
    # What GitHub makes a link of without any mark (GFM, "autolinks (extension)").
    assert not re.search(r"(https?:|mailto:|www\.)", model_card(sound).decode())


@pytest.mark.parametrize("value", [None, 7, "text", [1], [[1]], {"a": [[1, "x"], None, [1, 2, 3]]},
                                   {"a": [[1, float("nan")]]}, {"a": {"b": 1}}])  # fmt: skip
def test_members_of_any_shape_make_a_card(value):
    names = ("metrics", "files", "dataset", "lineage", "size", "model", "created_at")
    assert model_card({name: value for name in names})
    lineage = ("arguments", "curves", "environment", "code", "uploads", "dataset", "seed")
    assert model_card({"lineage": {name: value for name in lineage}})


def test_a_card_is_short_and_quick_however_long_the_manifest_is():
    files = [{"path": f"{i}.bin", "size": 1, "sha256": "0" * 64} for i in range(10_000)]
    curves = {f"curve {i}": [[s, s] for s in range(1000)] for i in range(1000)}
    text = model_card({**MANIFEST, "files": files, "lineage": {"curves": curves}}).decode()
    assert len(text) < 100_000
    assert "And 9950 more files" in text and "And 970 more curves" in text


def test_a_curve_is_drawn_between_its_lowest_and_highest_point():
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert sparkline([5, 5]) == "▅▅"
    assert sparkline([0, float("nan"), 1]) == "▁·█"
    assert len(sparkline(range(1000))) == 50
    assert chosen(range(101), 3) == [0, 50, 100]


def test_plain_words_stay_readable_in_the_source():
    assert escaped("lr 0.001, adam-w (fused) 50%") == "lr 0.001, adam-w (fused) 50%"
