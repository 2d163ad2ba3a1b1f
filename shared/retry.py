"""How long to wait before the next attempt: exponential backoff with full jitter."""

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Delays in seconds. `max_attempts` counts the first try; `jitter` 0..1 is the random share of each delay."""

    max_attempts: int = 3
    initial_delay: float = 1.0
    factor: float = 2.0
    max_delay: float = 30.0
    jitter: float = 0.5

    def delay_after(self, attempt: int, *, rng: random.Random | None = None) -> float | None:
        """Seconds to wait after failed attempt number `attempt` (from 1); None when no attempt is left."""
        if attempt >= self.max_attempts:
            return None
        try:
            delay = min(self.max_delay, self.initial_delay * self.factor ** (attempt - 1))
        except OverflowError:  # the thousandth attempt of an outage that lasts for hours
            delay = self.max_delay if self.initial_delay else 0.0
        return delay * (1 - self.jitter * (rng or random).random())
