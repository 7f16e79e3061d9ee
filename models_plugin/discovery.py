"""Which models are served: those that are installed, and those with an environment of their own.

Runs in the front: reads package metadata only, no plugin code; an environment of a model's own is
read by its own interpreter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from ..errors import ModelFailedToLoad
from .entry_points import GROUPS, installed_sources
from .interpreter import Interpreter, Unusable
from .plugin import PluginSource

OWN_DISTRIBUTION = "modelyard"
_GROUPS_IN_WORDS = " or ".join(repr(group) for group in GROUPS)


def list_sources(
    names: Sequence[str] | None = None, interpreters: Mapping[str, Interpreter] | None = None
) -> list[PluginSource]:
    """The plugins to serve, by name: those named, or all installed ones.

    `interpreters` are those of models with an environment of their own, by the model's name: they
    are served too, and from nowhere else. Models that come with this distribution are served when
    named, or when nothing else is installed, and only if the extra they belong to is installed.
    What cannot be served (two plugins of one name, an interpreter that is not there) is a source
    with a `problem`. Raises ModelFailedToLoad for a name that nothing installs.

    Asks each of those interpreters, at the same time, and waits for it for up to 30 s.
    """
    own = {
        name: interpreter
        for name, interpreter in (interpreters or {}).items()
        if not names or name in names
    }
    found = {**installed_sources(), **_ask_all(own)}
    if names:
        missing = [name for name in names if name not in found]
        if missing:
            raise ModelFailedToLoad(
                "No installed package offers the model {!r} (entry point group {}). "
                "Installed: {}.".format(
                    missing[0], _GROUPS_IN_WORDS, ", ".join(sorted(found)) or "none"
                )
            )
        return [found[name] for name in dict.fromkeys(names)]
    others = [
        source
        for source in found.values()
        if source.distribution != OWN_DISTRIBUTION or source.name in own
    ]
    return sorted(others or found.values(), key=lambda source: source.name)


def _ask_all(own: Mapping[str, Interpreter]) -> dict[str, PluginSource]:
    if not own:
        return {}
    asked: list[Interpreter] = []
    for interpreter in own.values():
        if interpreter not in asked:
            asked.append(interpreter)
    with ThreadPoolExecutor(len(asked)) as threads:
        answers = list(threads.map(_ask, asked))
    return {
        name: _chosen(name, interpreter, answers[asked.index(interpreter)])
        for name, interpreter in own.items()
    }


def _ask(interpreter: Interpreter) -> dict[str, PluginSource] | Unusable:
    try:
        return interpreter.sources()
    except Unusable as error:
        return error


def _chosen(
    name: str, interpreter: Interpreter, offered: dict[str, PluginSource] | Unusable
) -> PluginSource:
    if isinstance(offered, Unusable):
        problem = f"Model {name!r}, python of [models.{name}]: {offered}"
    elif name in offered:
        return offered[name]
    else:
        problem = (
            f"Model {name!r}: the environment of {interpreter.path} has no entry point of that "
            f"name (group {_GROUPS_IN_WORDS}). It offers: {', '.join(sorted(offered)) or 'none'}. "
            f"Install the model's package there, or name the table [models.{name}] as it is named."
        )
    return PluginSource(name=name, value="", problem=problem, python=interpreter.path)
