"""Whether there are tokens of an issuer: `oidc_issuer`, with a library that is an extra."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ...errors import InvalidSettings
from ...settings_oidc import OidcSettings
from .code_flow import CodeFlow
from .principal import Principal


class TokenPort(Protocol):
    """What the gate does with them. See `oidc.py`."""

    flow: CodeFlow | None
    """How browsers sign in at the issuer; None: they do not."""

    async def open(self) -> None:
        """Begins to fetch the issuer's keys."""

    async def close(self) -> None:
        """Ends that."""

    def is_one(self, text: str) -> bool:
        """Whether it has the form of a token."""

    def settled(self, token: str) -> Principal | None:
        """Who holds it, as far as that is known without asking the issuer."""

    async def looked_for(self, token: str) -> Principal | None:
        """The same, and asks the issuer. Raises IssuerUnavailable."""

    def refusal(self, token: str) -> str:
        """Why it is not valid, as far as its sender may know."""

    def review(self) -> None:
        """Forgets what has expired; called once a second."""


def open_tokens(settings: OidcSettings, changed: Callable[[], None]) -> TokenPort | None:
    """The tokens of the issuer; None without one.

    Raises InvalidSettings, also if the extra is not installed.
    """
    check_oidc(settings)
    if settings.oidc_issuer is None:
        return None
    try:
        # Only here: the library takes some 17 MB.
        from .oidc import Tokens
    except ImportError as error:
        raise InvalidSettings(
            f"oidc_issuer needs joserfc, which is not installed ({error}): "
            "pip install 'modelyard[oidc]'.",
            {"oidc_issuer": ["pip install 'modelyard[oidc]'"]},
        ) from error
    return Tokens(settings, changed)


def check_oidc(settings: OidcSettings) -> None:
    """Raises InvalidSettings if there is an issuer, and no audience or nobody who may anything."""
    if settings.oidc_issuer is None:
        return
    if settings.oidc_web_secret_file is not None and settings.oidc_web_client_id is None:
        told = "It is the secret of oidc_web_client_id, which is not set."
        raise InvalidSettings(f"oidc_web_secret_file: {told}", {"oidc_web_secret_file": [told]})
    missing = {
        "oidc_audience": "A token is for somebody: name this server as the issuer does (aud).",
        "oidc_permissions": "Nobody could do anything: name groups, scopes or subjects.",
    }
    errors = {name: [told] for name, told in missing.items() if not getattr(settings, name)}
    if errors:
        lines = "\n".join(f"  {name}: {told[0]}" for name, told in errors.items())
        raise InvalidSettings(f"oidc_issuer needs more settings:\n{lines}", errors)
