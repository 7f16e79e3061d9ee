"""Finds installed plugins by their entry points, without importing any of them.

Runs in the front: reads package metadata only (`importlib.metadata`), no plugin code.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from importlib.metadata import Distribution, EntryPoint, PackageNotFoundError, distribution
from importlib.metadata import distributions as installed

from ..errors import ModelFailedToLoad
from .plugin import MODEL_NAME, NATIVE_GROUP, PluginSource

OWN_DISTRIBUTION = "modelyard"
GROUPS = (NATIVE_GROUP,)


def list_sources(names: Sequence[str] | None = None) -> list[PluginSource]:
    """The plugins to serve, by name: those named, or all installed ones.

    Models that come with this distribution are served when named, or when nothing else is
    installed, and only if the extra they belong to is installed. Two plugins of one name are one
    source with a `problem`. Raises ModelFailedToLoad for a name that nothing installs.
    """
    found = _by_name()
    if names:
        missing = [name for name in names if name not in found]
        if missing:
            raise ModelFailedToLoad(
                "No installed package offers the model {!r} (entry point group {!r}). "
                "Installed: {}.".format(
                    missing[0], NATIVE_GROUP, ", ".join(sorted(found)) or "none"
                )
            )
        return [found[name] for name in dict.fromkeys(names)]
    others = [source for source in found.values() if source.distribution != OWN_DISTRIBUTION]
    return sorted(others or found.values(), key=lambda source: source.name)


def _by_name() -> dict[str, PluginSource]:
    claims: dict[str, list[PluginSource]] = defaultdict(list)
    seen = set()
    for dist in installed():
        name = dist.metadata["Name"]
        # A path that is listed twice (say, by an editable install) shows its distribution twice;
        # the first one found is the one that imports would take.
        if name is None or _normal(name) in seen:
            continue
        seen.add(_normal(name))
        for point in dist.entry_points:
            if point.group in GROUPS and _extras_installed(point, dist):
                claims[point.name].append(_source(point, dist))
    return {name: _only(name, sources) for name, sources in claims.items()}


def _source(point: EntryPoint, dist: Distribution) -> PluginSource:
    problem = None
    if not MODEL_NAME.match(point.name):
        problem = (
            f"The entry point's name {point.name!r} cannot stand in a URL. Rename it: letters, "
            "digits, dots, dashes and underscores, at most 100, beginning with a letter or digit."
        )
    value = f"{point.module}:{point.attr}" if point.attr else point.module
    return PluginSource(
        name=point.name,
        value=value,
        group=point.group,
        distribution=dist.metadata["Name"],
        distribution_version=dist.version,
        problem=problem,
    )


def _only(name: str, sources: list[PluginSource]) -> PluginSource:
    if len(sources) == 1:
        return sources[0]
    claimants = " and ".join(f"{s.distribution} ({s.value})" for s in sources)
    first = sources[0]
    return PluginSource(
        name=name,
        value=first.value,
        group=first.group,
        problem=f"Two plugins have the name {name!r}: {claimants}. Uninstall one, or rename its "
        "entry point.",
    )


def _extras_installed(point: EntryPoint, dist: Distribution) -> bool:
    """Whether what the entry point's extras (`name = module:attr [extra]`) require is there."""
    for extra in point.extras:
        for requirement in dist.requires or ():
            needed, _, marker = requirement.partition(";")
            if re.search(rf"extra\s*==\s*['\"]{re.escape(extra)}['\"]", marker):
                try:
                    distribution(re.split(r"[\s<>=!~\[(]", needed.strip(), maxsplit=1)[0])
                except PackageNotFoundError:
                    return False
    return True


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
