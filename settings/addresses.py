"""Kinds of settings that are addresses, or parts of one: hosts, paths, where things come from."""

from __future__ import annotations

import ipaddress
import re
from typing import Any
from urllib.parse import urlsplit

from marshmallow import ValidationError, fields

from ..addresses import UrlRule
from .fields import Text

_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?")
_STEP = re.compile(r"[A-Za-z0-9._~-]+")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")


class ListenAddress(Text):
    """An address or a name of this machine, without a port."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, *args, **kwargs)
        bare = text[1:-1] if text[0] == "[" and text[-1] == "]" else text
        if _is_host(bare):
            return bare
        raise ValidationError(
            f"{text!r} is no address to listen on: write one alone, such as 127.0.0.1, ::1, or "
            "0.0.0.0 for all of this machine; the port is a setting of its own."
        )


class HostName(Text):
    """A name that the server is called by, in small letters."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, *args, **kwargs)
        name = text.lower().rstrip(".")
        if not _is_host(name):
            raise ValidationError(
                f"{text!r} is no name of a host: write it alone, such as yard.example.org, without "
                "https://, a port, a path or *."
            )
        return name


def _is_host(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        labels = text.split(".")
        # A name whose last label is a number would be read as an address (URL Standard, 3.5).
        return all(map(_NAME.fullmatch, labels)) and not labels[-1].isdigit() and len(text) < 254
    return True


class BasePath(fields.String):
    """A prefix of paths, without its last slash: `/models/a`; empty for none."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text = str(super()._deserialize(value, *args, **kwargs)).rstrip("/")
        steps = text.split("/")[1:]
        if text and (text[0] != "/" or not all(_STEP.fullmatch(step) for step in steps)):
            raise ValidationError(
                "Not a path prefix: write it like /models/a, of letters, digits and . _ ~ -"
            )
        if {".", ".."} & set(steps):
            raise ValidationError(
                "Every client takes /. and /.. out of a path before it asks: write it like "
                "/models/a."
            )
        return text


class DatasetSource(Text):
    """A bucket, or a part of one, that datasets may be taken from: `s3://bucket/prefix`."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, *args, **kwargs)
        scheme, _, rest = text.partition("://")
        bucket, *steps = rest.rstrip("/").split("/")
        wrong = not all(steps) or {".", ".."} & set(steps)
        if scheme != "s3" or not _BUCKET.fullmatch(bucket) or wrong:
            raise ValidationError(
                f"{text!r} is no source of datasets: write s3://bucket or s3://bucket/prefix. "
                "(Folders of this machine are for --data.)"
            )
        return text


class CollectorUrl(Text):
    """An http address without credentials: command lines are seen by every user of a machine."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, *args, **kwargs)
        try:
            parts = urlsplit(text)
            known = parts.hostname and parts.port != 0
        except ValueError:
            parts, known = urlsplit(""), False
        if parts.scheme not in ("http", "https") or not known:
            raise ValidationError("Not an address: write it like http://127.0.0.1:4318.")
        if parts.username is not None:
            raise ValidationError(
                "It holds credentials, which every user of this machine could read: give them by "
                "the variable OTEL_EXPORTER_OTLP_HEADERS."
            )
        return text


class UrlRules(fields.String):
    """Where URLs that clients give may lead, as `addresses.UrlRule.parse` reads it."""

    def _deserialize(self, value: Any, *args: Any, **more: Any) -> str:
        text = ",".join(map(str, value)) if isinstance(value, list) else value
        text = str(super()._deserialize(text, *args, **more))
        try:
            UrlRule.parse(text)
        except ValueError as error:
            raise ValidationError(str(error)) from error
        return text
