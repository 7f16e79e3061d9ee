"""What a server asks of its settings before it starts. Runs in the front and in `doctor`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_network

from ..errors import InvalidSettings
from .environ import variables_without_effect
from .machine import exposed_files, faults_of_the_machine, warnings_of_the_machine
from .schema import Settings, SettingsSchema
from .together import Fault, faults_together


def check_settings(settings: Settings, environ: Mapping[str, str]) -> None:
    """Raises InvalidSettings, which names all that would fail later, or never be told."""
    refuse([*faults_together(settings), *faults_of_the_machine(settings, environ)])


def refuse(faults: Iterable[Fault]) -> None:
    """Raises InvalidSettings if there is a fault."""
    errors: dict[str, list[str]] = {}
    for name, told in faults:
        errors.setdefault(name, []).append(told)
    if errors:
        raise InvalidSettings.of(errors)


def warnings_about(settings: Settings, environ: Mapping[str, str]) -> list[str]:
    """What is allowed and is hardly meant: variables that are nobody's, secrets that all see."""
    told = [
        *unused_variables(environ),
        *exposed_files(settings),
        *warnings_of_the_machine(settings),
    ]
    if any(ip_network(one).prefixlen == 0 for one in settings.trusted_proxies):
        told.append(
            "trusted_proxies names every address: whoever calls may say which address is theirs, "
            "and limits of one client bind nobody; name the proxy alone"
        )
    return told


def unused_variables(environ: Mapping[str, str]) -> list[str]:
    """A sentence on each variable with our prefix that is no setting."""
    return variables_without_effect(environ, setting_names())


def setting_names() -> list[str]:
    """Those that flags and variables may give, too."""
    declared = SettingsSchema().fields
    return [name for name, one in declared.items() if one.metadata.get("flag", True)]
