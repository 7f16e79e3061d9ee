"""Reads the entry points of models from the metadata of the installed packages, importing none.

Runs in the server, for its own environment, and in the interpreter of a model's own environment,
where it prints what it found as one line of JSON:

    python -m modelyard.models_plugin.entry_points

Python 3.8 syntax and library.
"""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from importlib.metadata import (
    Distribution,
    EntryPoint,
    PackageNotFoundError,
    distribution,
    distributions,
    version,
)

from .plugin import DEEPAAS_GROUP, MODEL_NAME, NATIVE_GROUP, PluginSource

GROUPS = (NATIVE_GROUP, DEEPAAS_GROUP)
_VALUE = re.compile(r"\s*([\w.]+)\s*(?::\s*([\w.]+)\s*)?(?:\[([^]]*)\]\s*)?\Z")
"""`package.module:attribute [extra, ...]`; not by EntryPoint's members, which Python 3.8 lacks."""
_NAME = re.compile(r"^Name:[ \t]*(\S.*?)\s*$", re.IGNORECASE | re.MULTILINE)


def installed_sources() -> dict[str, PluginSource]:
    """What this interpreter's packages offer, by name.

    Two plugins of one name are one source with a `problem`; a package that offers one model by both
    contracts is taken by ours.
    """
    claims: dict[str, list[PluginSource]] = defaultdict(list)
    seen = set()
    for dist in distributions():
        try:
            name, points = _name(dist), list(dist.entry_points)
        except Exception:  # broken metadata, as half-uninstalled packages have, is of no model
            continue
        # A path that is listed twice (say, by an editable install) shows its distribution twice;
        # the first one found is the one that imports would take.
        if name is None or _normal(name) in seen:
            continue
        seen.add(_normal(name))
        for point in points:
            if point.group in GROUPS and _extras_installed(point, dist):
                claims[point.name].append(_source(point, dist))
    return {name: _only(name, sources) for name, sources in claims.items()}


def _name(dist: Distribution) -> str | None:
    # Not by `dist.metadata`: its parser reads the long description too, and with hundreds of
    # packages that would be a quarter of a second at each start.
    text = next(filter(None, map(dist.read_text, ("METADATA", "PKG-INFO", ""))), "")
    match = _NAME.search(text.partition("\n\n")[0])
    return match and match.group(1)


def _source(point: EntryPoint, dist: Distribution) -> PluginSource:
    problem = None
    match = _VALUE.match(point.value)
    if match is None:
        problem = (
            f"The entry point {point.name!r} of {dist.metadata['Name']} is {point.value!r}. "
            "Write it as package.module:attribute."
        )
    elif not MODEL_NAME.match(point.name):
        problem = (
            f"The entry point's name {point.name!r} cannot stand in a URL. Rename it: letters, "
            "digits, dots, dashes and underscores, at most 100, beginning with a letter or digit."
        )
    value = point.value if match is None else ":".join(filter(None, match.group(1, 2)))
    return PluginSource(
        name=point.name,
        value=value,
        group=point.group,
        distribution=dist.metadata["Name"],
        distribution_version=dist.version,
        problem=problem,
    )


def _only(name: str, sources: list[PluginSource]) -> PluginSource:
    native = {source.distribution for source in sources if source.group == NATIVE_GROUP}
    sources = [s for s in sources if s.group == NATIVE_GROUP or s.distribution not in native]
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
    match = _VALUE.match(point.value)
    for extra in re.findall(r"[\w.-]+", (match and match.group(3)) or ""):
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


def main() -> None:
    """Prints the sources, and the release of marshmallow (null: there is none)."""
    try:
        marshmallow = version("marshmallow")
    except PackageNotFoundError:
        marshmallow = None
    sources = [source.to_data() for source in installed_sources().values()]
    # On a line of its own: a .pth file of that environment may have printed something before.
    sys.stdout.write("\n" + json.dumps({"marshmallow": marshmallow, "sources": sources}) + "\n")


if __name__ == "__main__":
    main()
