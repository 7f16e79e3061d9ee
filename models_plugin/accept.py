"""Content negotiation by the Accept header (RFC 9110, section 12.5.1). Python 3.8 syntax."""

from __future__ import annotations

from collections.abc import Sequence


def choose(accept: str, offered: Sequence[str]) -> str | None:
    """The offered content type that the header likes best, or None.

    Among equals the first offered wins. An offered range (`image/*`) matches any type in it, and
    then the concrete type of the header is the answer.
    """
    best = choose_offer(accept, offered)
    return None if best is None else best[1]


def choose_offer(accept: str, offered: Sequence[str]) -> tuple[str, str] | None:
    """The same, with the offer itself before it: `("image/*", "image/png")`."""
    best: tuple[str, str] | None = None
    best_weight = 0.0
    ranges = _ranges(accept)
    for content_type in offered:
        weight, chosen = _weight_of(content_type.lower(), ranges)
        if weight > best_weight:
            best, best_weight = (content_type, chosen or content_type), weight
    return best


def _ranges(accept: str) -> list[tuple[str, float]]:
    ranges = []
    for part in (accept or "*/*").split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        weight = 1.0
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip().lower() == "q":
                try:
                    weight = min(1.0, max(0.0, float(value)))
                except ValueError:
                    weight = 0.0
        if name:
            ranges.append((name.lower(), weight))
    return ranges or [("*/*", 1.0)]


def _weight_of(content_type: str, ranges: Sequence[tuple[str, float]]) -> tuple[float, str | None]:
    """Weight by the most specific range that matches, and the concrete type if ours is a range."""
    best: tuple[int, float, str | None] = (-1, 0.0, None)
    main = content_type.split("/")[0]
    for name, weight in ranges:
        concrete = None
        if name == content_type:
            rank = 2
        elif content_type.endswith("/*") and name.startswith(main + "/"):
            rank, concrete = 2, name
        elif name == main + "/*":
            rank = 1
        elif name == "*/*":
            rank = 0
        else:
            continue
        if rank > best[0]:
            best = (rank, weight, concrete)
    return best[1], best[2]
