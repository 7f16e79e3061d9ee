"""The boto3 client: how it finds the server, its credentials and the form of addresses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import StoreRefused
from .base import Limits

_CALLERS = 32  # threads that ask for themselves, beside those for parts


def connect(environ: Mapping[str, str], limits: Limits, path_style: bool = False) -> Any:
    """A boto3 S3 client by the standard AWS_* variables; asks nothing of the server.

    `path_style` forces addresses like http://host/bucket. It is the form wherever an endpoint is
    named, since a server of one's own rarely has a DNS name for each bucket; the AWS configuration
    file's `addressing_style` wins. Raises StoreRefused.
    """
    import boto3  # type: ignore[import-untyped]
    import botocore.exceptions  # type: ignore[import-untyped]
    import botocore.session  # type: ignore[import-untyped]

    core = botocore.session.Session()
    for name, variable in (
        ("config_file", "AWS_CONFIG_FILE"),
        ("credentials_file", "AWS_SHARED_CREDENTIALS_FILE"),
        ("ca_bundle", "AWS_CA_BUNDLE"),
    ):
        if environ.get(variable):
            core.set_config_variable(name, environ[variable])
    key = environ.get("AWS_ACCESS_KEY_ID") or None
    endpoint = environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL") or None
    try:
        session = boto3.session.Session(
            botocore_session=core,
            aws_access_key_id=key,
            aws_secret_access_key=environ.get("AWS_SECRET_ACCESS_KEY") or None,
            aws_session_token=(environ.get("AWS_SESSION_TOKEN") or None) if key else None,
            region_name=environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or None,
            profile_name=environ.get("AWS_PROFILE") or None,
        )
        told_style = (core.get_scoped_config().get("s3") or {}).get("addressing_style")
        style = "path" if path_style else told_style or ("path" if endpoint else "auto")
        make = {
            "region_name": session.region_name or "us-east-1",
            "endpoint_url": endpoint,
            "verify": environ.get("AWS_CA_BUNDLE") or None,
        }
        client = session.client("s3", config=_config(limits, style), **make)
        if endpoint or style != "auto" or _is_amazon(client.meta.endpoint_url):
            return client
        # The endpoint stands in the AWS configuration file.
        return session.client("s3", config=_config(limits, "path"), **make)
    except botocore.exceptions.ProfileNotFound:
        raise StoreRefused("the profile that AWS_PROFILE names is not configured") from None
    except (botocore.exceptions.BotoCoreError, ValueError) as error:
        raise StoreRefused(
            f"the S3 client cannot be made ({type(error).__name__}): check the AWS_* variables, "
            "AWS_ENDPOINT_URL first (http://host:port)"
        ) from error


def _is_amazon(endpoint: str) -> bool:
    return any(end in endpoint for end in (".amazonaws.com", ".api.aws"))


def _config(limits: Limits, style: str) -> Any:
    from botocore.config import Config  # type: ignore[import-untyped]

    return Config(
        signature_version="s3v4",
        connect_timeout=limits.connect_s,
        read_timeout=limits.read_s,
        retries={"mode": "standard", "total_max_attempts": 1},  # see s3_tries.py
        max_pool_connections=limits.threads + _CALLERS,
        tcp_keepalive=True,
        # Newer checksums in trailers are refused by older servers.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        # The signed Content-MD5 covers the payload; SHA-256 of it once more would cost as much as
        # all the rest of sending.
        s3={"addressing_style": style, "payload_signing_enabled": False},
        user_agent_extra="modelyard",
    )
