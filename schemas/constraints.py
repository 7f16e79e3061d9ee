"""What marshmallow's validators say, as a field's neutral description. Python 3.8 syntax.

Only what can be said exactly is said: a validator that is a function of the author's own stays
silent here and still validates.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from marshmallow import validate

from .description import FieldDescription
from .jsonform import NoJsonForm, json_form

_SIZED = ("string", "list", "dict", "tensor", "url", "email")
_FLAGS_WITHOUT_EFFECT = re.UNICODE
_NAMED_GROUP = re.compile(r"\(\?P<\w+>")
_PYTHON_ONLY = re.compile(r"\(\?(?![:=!]|<[=!])|\\[ABGQKN]|\\p|[*+?}]\+")


def add_constraints(description: FieldDescription, field: Any) -> None:
    """Adds the field's validators to its description."""
    for validator in _flat(getattr(field, "validators", ())):
        for kind, add in _RULES:
            if isinstance(validator, kind):
                add(description, field, validator)
                break


def _flat(validators: Any) -> Iterator[Any]:
    for validator in validators:
        if isinstance(validator, validate.And):
            yield from _flat(validator.validators)
        else:
            yield validator


def _add_range(description: FieldDescription, field: Any, rule: Any) -> None:
    low, high = _number(field, rule.min), _number(field, rule.max)
    if low is not None:
        exclusive = not getattr(rule, "min_inclusive", True)
        old = description.minimum
        if old is None or low > old or (low == old and exclusive):
            description.minimum, description.exclusive_minimum = low, exclusive
    if high is not None:
        exclusive = not getattr(rule, "max_inclusive", True)
        old = description.maximum
        if old is None or high < old or (high == old and exclusive):
            description.maximum, description.exclusive_maximum = high, exclusive


def _number(field: Any, bound: Any) -> float | None:
    """A bound in the unit that a client sends (a timedelta counts in the field's precision)."""
    if bound is None:
        return None
    if not isinstance(bound, (int, float)):
        try:
            bound = json_form(field, bound)
        except NoJsonForm:
            return None
    if isinstance(bound, bool) or not isinstance(bound, (int, float)) or not math.isfinite(bound):
        return None
    return bound


def _add_length(description: FieldDescription, field: Any, rule: Any) -> None:
    if description.kind not in _SIZED or description.format == "comma-separated":
        return
    low = rule.equal if rule.equal is not None else rule.min
    high = rule.equal if rule.equal is not None else rule.max
    if low is not None:
        description.min_length = max(low, description.min_length or 0)
    if high is not None:
        old = description.max_length
        description.max_length = high if old is None else min(high, old)


def _add_choices(description: FieldDescription, field: Any, rule: Any) -> None:
    _restrict(description, _json_list(field, rule.choices))


def _add_equal(description: FieldDescription, field: Any, rule: Any) -> None:
    _restrict(description, _json_list(field, [rule.comparable]))


def _add_item_choices(description: FieldDescription, field: Any, rule: Any) -> None:
    inner = getattr(field, "inner", None)
    if description.items is not None and inner is not None:
        _restrict(description.items, _json_list(inner, rule.choices))


def _add_refused(description: FieldDescription, field: Any, rule: Any) -> None:
    text = ", ".join(str(item) for item in rule.iterable)
    if text and len(text) < 200:
        description.description = f"{description.description} Not: {text}.".strip()


def _add_pattern(description: FieldDescription, field: Any, rule: Any) -> None:
    regex = rule.regex
    if not isinstance(regex.pattern, str) or regex.flags & ~_FLAGS_WITHOUT_EFFECT:
        return
    pattern = _NAMED_GROUP.sub("(", regex.pattern)
    if "\\\\" not in pattern:  # an escaped backslash could stand before the letter
        pattern = pattern.replace(r"\A", "^").replace(r"\Z", "$")
    if _PYTHON_ONLY.search(pattern) or "(?P" in pattern:
        return
    # Python matches at the start, a JSON Schema pattern anywhere.
    if not pattern.startswith("^") or "|" in pattern:
        pattern = f"^(?:{pattern})"
    if description.pattern is None:
        description.pattern = pattern


def _json_list(field: Any, values: Any) -> list[Any] | None:
    """The choices as a client sends them; None if one cannot be told."""
    try:
        return [json_form(field, value) for value in values]
    except (NoJsonForm, TypeError):
        return None


def _restrict(description: FieldDescription, choices: list[Any] | None) -> None:
    if choices is None:
        return
    old = description.choices
    kept = choices if old is None else [item for item in old if item in choices]
    description.choices = [item for n, item in enumerate(kept) if item not in kept[:n]]


_RULES: tuple[tuple[type, Any], ...] = (
    (validate.Range, _add_range),
    (validate.Length, _add_length),
    (validate.ContainsOnly, _add_item_choices),  # before OneOf, whose child it is
    (validate.OneOf, _add_choices),
    (validate.Equal, _add_equal),
    (validate.NoneOf, _add_refused),
    (validate.Regexp, _add_pattern),
)
