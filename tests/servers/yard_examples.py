"""How many examples hypothesis draws, and which.

`make test` draws the same ones each time, so that a change is judged by what it changes.
`make test-slow` sets EXAMPLES: that many times as many, others each time.
"""

import os

from hypothesis import HealthCheck, settings

_TIMES = int(os.environ.get("EXAMPLES", "1"))


def examples(count: int) -> settings:
    return settings(
        max_examples=count * _TIMES,
        derandomize=_TIMES == 1,
        deadline=None,  # of one example; the machine may be busy
        suppress_health_check=list(HealthCheck),
    )
