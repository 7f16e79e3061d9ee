"""DEEPaaS's dates: local time without a zone."""

from __future__ import annotations

from datetime import datetime


def local_date(moment: datetime) -> str:
    """`YYYY-MM-DD HH:MM:SS.ffffff` in the server's time zone, always with the microseconds."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")
