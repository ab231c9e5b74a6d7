"""How long to wait after "not now": full jitter, slower for refused credentials, as late as the server asks."""

from __future__ import annotations

import random
from collections.abc import Callable

from agent.model import Retry

BACKOFF_FIRST, BACKOFF_MOST = 1.0, 60.0
RETRY_AFTER_MOST = 300.0
AUTH_RETRY = 60.0


def backoff(attempt: int, *, draw: Callable[[], float] = random.random) -> float:
    """Seconds to wait before attempt number `attempt` + 1: full jitter under an exponential ceiling, never under a
    tenth of a second.
    """
    return max(0.1, draw() * min(BACKOFF_MOST, BACKOFF_FIRST * 2.0 ** min(attempt, 10)))


def pause(attempt: int, later: Retry, *, draw: Callable[[], float] = random.random) -> float:
    """Seconds to wait after a `Retry`: the backoff, longer for refused credentials or as the server asks, which is
    capped at five minutes.
    """
    seconds = backoff(attempt, draw=draw)
    if later.auth:
        seconds = max(seconds, AUTH_RETRY * (0.5 + draw() / 2))
    if later.after is not None:
        seconds = min(max(later.after, seconds), RETRY_AFTER_MOST)
    return seconds
