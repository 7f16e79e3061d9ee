"""Settings in the environment: which variables are one, and which only look like one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping

ENV_PREFIX = "MODELYARD_"
_OTHERS = frozenset(
    {
        *("CONFIG_FILE", "CONFIG_DIR"),
        *("URL", "TOKEN", "CREDENTIALS"),  # of the client
        *("RUN_ID", "RUN_HOME", "CHILD", "DEEPAAS_MODULE"),  # told to processes of models
        "TORCH_FILES",
    }
)
# https://kubernetes.io/docs/tutorials/services/connect-applications-service/#environment-variables
_LINK = re.compile(
    r"MODELYARD(_\w+)?_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)"
)
_LINKED_PORT = re.compile(r"(tcp|udp|sctp)://")


def settings_of(environ: Mapping[str, str], names: Collection[str]) -> dict[str, str]:
    """What the variables say of the settings `names`."""
    said = {name: environ.get(ENV_PREFIX + name.upper()) for name in names}
    return {
        name: text
        for name, text in said.items()
        if text is not None and not _is_link(ENV_PREFIX + name.upper(), text)
    }


def variables_without_effect(environ: Mapping[str, str], names: Collection[str]) -> list[str]:
    """A sentence on each variable with our prefix that is nobody's, with the nearest that is.

    Values are never told: they may be secrets.
    """
    known = [*(name.upper() for name in names), *_OTHERS]
    told = []
    for variable, text in sorted(environ.items()):
        if not variable.upper().startswith(ENV_PREFIX):
            continue
        stem = variable[len(ENV_PREFIX) :]
        if _is_link(variable, text):
            if stem in known:
                told.append(
                    f"{variable} is what Kubernetes says of a Service of that name, and is not "
                    "taken for the setting: name the Service otherwise, set enableServiceLinks: "
                    "false, or give the setting by a flag or a file"
                )
        elif not variable.startswith(ENV_PREFIX) or stem not in known:
            near = difflib.get_close_matches(stem.upper(), known, 2)
            names_of = " or ".join(ENV_PREFIX + name for name in near)
            meant = f"is {names_of} meant?" if near else "see docs/settings.md"
            told.append(f"the variable {variable} is no setting and has no effect: {meant}")
    return told


def _is_link(variable: str, text: str) -> bool:
    """Whether Kubernetes set it, for a Service called modelyard or modelyard-something."""
    if _LINK.fullmatch(variable):
        return True
    return variable.endswith("_PORT") and _LINKED_PORT.match(text) is not None
