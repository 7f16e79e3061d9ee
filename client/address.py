"""The address of a server, as a person or a variable gave it."""

from __future__ import annotations

from urllib.parse import urlsplit

from .errors import ServerUnreachable


def server_address(url: str) -> str:
    """The address without white space around it and without its last slash.

    Raises ServerUnreachable for what is none; the message never repeats a password.
    """
    text = url.strip()
    if "@" in text.partition("://")[2].partition("/")[0]:
        raise ServerUnreachable(
            "The address of the server holds a name or a password: take it out, and give a key by "
            "MODELYARD_TOKEN or modelyard login."
        )
    if not _is_address(text):
        raise ServerUnreachable(f"{url!r} is no address of a server: write http://HOST:PORT.")
    return text.rstrip("/")


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
        host.encode("ascii" if ":" in host else "idna")  # as looking it up does
        good = parts.port != 0
    except ValueError:  # also of a name that is too long or has odd letters
        return False
    usable = bool(host) and " " not in host and text.isprintable()
    return good and usable and parts.scheme in ("http", "https") and not {"?", "#"} & set(text)
