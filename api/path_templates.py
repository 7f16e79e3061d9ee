"""Under which templates the router serves a declared path.

Runs in the front.
"""

from __future__ import annotations

import re
from collections.abc import Sequence


def templates(path: str, others: Sequence[str], base_path: str = "") -> list[str]:
    """With and without last slash, below the prefix. `others` are all declared paths.

    Where a path ends in a parameter and another one has a word in that place (`datasets/{id}` and
    `datasets/uploads`), that word is no value of the parameter: a DELETE of the word's address is
    405 and not the deletion of something called so, and `Allow` names only what can be done there.
    """
    bare = path.rstrip("/")
    before, _, last = bare.rpartition("/")
    if last.startswith("{"):
        words = sorted(
            {
                re.escape(word)
                for other in others
                for start, _, word in [other.rstrip("/").rpartition("/")]
                if start == before and word and not word.startswith("{")
            }
        )
        if words:
            bare = f"{before}/{{{last[1:-1]}:(?!(?:{'|'.join(words)})/?$)[^/]+}}"
    bare = base_path + bare
    return [bare + "/", bare] if bare else ["/"]
