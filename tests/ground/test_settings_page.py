"""docs/settings.md says of every setting what the schema says: name, default, unit and range."""

import re
from dataclasses import MISSING, fields
from pathlib import Path

import marshmallow
import pytest
from marshmallow import validate

from modelyard.settings import SettingsSchema
from modelyard.settings.fields import CpuSet, LocalPath, NameList, Switch
from modelyard.settings.models import ModelSettings, ModelSettingsSchema
from modelyard.settings.numbers import MOST, Amount, Count, Size, written_size
from modelyard.settings.schema import Settings

PAGE = (Path(__file__).parents[2] / "docs" / "settings.md").read_text()
SHORT = {"seconds": "s", "milliseconds": "ms"}


def rows(heading):
    """Setting, default and what it takes, of the table below a line that begins so."""
    table = PAGE[PAGE.index(heading) :].split("\n\n")[0]
    lines = [row.strip("|").split("|") for row in table.splitlines()[2:]]
    cells = [[cell.strip() for cell in line] for line in lines]
    assert all(len(row) == 4 for row in cells), [row[0] for row in cells if len(row) != 4]
    return {name.strip("`"): (row[1], row[2]) for row in cells for name in row[0].split(", ")}


ALL = rows("| setting | default | takes")
OF_MODELS = rows("| `[models.NAME]` | default | takes")


def taken(declared):
    """What a setting takes, as the page says it."""
    choices = [one for one in declared.validators if isinstance(one, validate.OneOf)]
    if choices:
        return ", ".join(f"`{choice}`" for choice in choices[0].choices)
    if isinstance(declared, Size):
        least = f"size from {written_size(declared.least)}" if declared.least > 1 else "size"
        return f"{least}; 0: {declared.zero}" if declared.zero else least
    if isinstance(declared, Amount):
        return f"{declared.least:.10g} to {declared.most:.10g} {SHORT[declared.unit]}"
    if isinstance(declared, Count):
        most = "or more" if declared.most == MOST else f"to {declared.most}"
        return f"{declared.least} {most}"
    kinds = {Switch: "on or off", LocalPath: "path", NameList: "names", CpuSet: "CPUs"}
    return next((word for kind, word in kinds.items() if isinstance(declared, kind)), "text")


def written(declared, default):
    """A default as the page says it; None: in words."""
    if default is None or default is MISSING or default in ((), ""):
        return None
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(declared, Size):
        return f"`{written_size(default)}`"
    return f"`{default:.10g}`" if isinstance(default, float) else f"`{default}`"


@pytest.mark.parametrize(
    ("schema", "made", "table"),
    [(SettingsSchema, Settings, ALL), (ModelSettingsSchema, ModelSettings, OF_MODELS)],
    ids=["settings", "models"],
)
def test_names_defaults_units_and_ranges_are_those_of_the_schema(schema, made, table):
    defaults = {one.name: one.default for one in fields(made)}
    for name, declared in schema().fields.items():
        if isinstance(declared, marshmallow.fields.Dict):
            continue
        default, takes = table[name]
        told = written(declared, defaults[name])
        assert default == told if told else not default.startswith("`"), (name, default, told)
        assert takes == taken(declared), name
    assert set(table) == set(schema().fields)


def test_what_an_option_shows_as_its_default_is_the_settings():
    assert set(SettingsSchema().fields) == {one.name for one in fields(Settings)}
    assert set(ModelSettingsSchema().fields) == {one.name for one in fields(ModelSettings)}


def test_every_setting_has_an_effect():
    """Each is read somewhere beside where it is declared: an option without effect is none."""
    root = Path(__file__).parents[2]
    rooms = ("api", "cli", "models_plugin", "serving", "storage", "training")
    code = "\n".join(file.read_text() for room in rooms for file in (root / room).rglob("*.py"))
    read = set(re.findall(r"\.(\w+)\b", code)) | set(re.findall(r'"(\w+)"', code))
    names = {*SettingsSchema().fields, *ModelSettingsSchema().fields} - {"debug"}  # is log_level
    assert names <= read, names - read
