"""Settings that need each other, or exclude each other. Knows nothing of this machine.

Each source of settings may be right by itself, so this is asked of all of them together, when a
server starts: commands that read one setting of its home do not mind the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from .oidc import OidcSettings
from .schema import Settings

Fault = tuple[str, str]
"""A setting's name, and what is wrong with it."""


def faults_together(settings: Settings) -> Iterator[Fault]:
    """What cannot work together, or would have no effect."""
    yield from oidc_faults(settings)
    if settings.tls_key is not None and settings.tls_cert is None:
        yield "tls_key", "It is the key of a certificate: name that by --tls-cert."
    if settings.grpc_port and settings.grpc_port == settings.port:
        yield (
            "grpc_port",
            f"HTTP listens on {settings.port} already (--port): gRPC needs another.",
        )
    if settings.dataset_sources and settings.storage is None:
        yield (
            "dataset_sources",
            "Objects are fetched with the credentials of the store: name that by --storage.",
        )
    for name, own in settings.models.items():
        if own.keep_best_by is not None and own.keep_last is None:
            yield (
                "models",
                f"{name}: keep_best_by: Without keep_last all versions are kept: set that too.",
            )


def oidc_faults(settings: OidcSettings) -> Iterator[Fault]:
    """What is missing beside settings of the issuer's."""
    if settings.oidc_issuer is None:
        for one in fields(OidcSettings):
            if getattr(settings, one.name) != getattr(OidcSettings(), one.name):
                yield (
                    one.name,
                    "It has an effect only beside oidc_issuer: set that, or leave this out.",
                )
        return
    if not settings.oidc_audience:
        yield (
            "oidc_audience",
            "oidc_issuer needs it: a token is for somebody; name this server as the issuer does "
            "(aud).",
        )
    if not settings.oidc_permissions:
        yield (
            "oidc_permissions",
            "oidc_issuer needs it: nobody could do anything; name groups, scopes or subjects.",
        )
    if settings.oidc_web_secret_file is not None and settings.oidc_web_client_id is None:
        yield (
            "oidc_web_secret_file",
            "It is the secret of oidc_web_client_id, which is not set.",
        )
