"""Which worker may run what: a run may require labels, and a worker of a tenant runs nothing of others.

Runs that require the same labels form a *pool*; a worker claims from the pools whose labels it has. The pool of runs
that require nothing is None.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

TENANT = "tenant:"
"""A worker with the label `tenant:acme` runs only what is acme's."""
MAX_LABELS = 16
LABEL = r"^[A-Za-z0-9][A-Za-z0-9_.:=/\-]{0,62}$"
_BETWEEN = ","


def pool_of(requires: Iterable[str]) -> str | None:
    """The pool of what requires these labels."""
    return _BETWEEN.join(sorted(set(requires))) or None


def labels_of(pool: str | None) -> frozenset[str]:
    """What a worker must have to take from this pool."""
    return frozenset(pool.split(_BETWEEN)) if pool else frozenset()


def split_labels(text: str) -> tuple[str, ...]:
    """The labels of a comma-separated list, each once."""
    return tuple(dict.fromkeys(label for part in text.split(",") if (label := part.strip())))


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a worker is allowed to take."""

    labels: frozenset[str] = field(default_factory=frozenset)

    @property
    def tenants(self) -> frozenset[str]:
        """The only ones that it works for; empty: for all."""
        return frozenset(
            label.removeprefix(TENANT) for label in self.labels if label.startswith(TENANT)
        )

    def may_take(self, tenant: str, pool: str | None) -> bool:
        tenants = self.tenants
        return labels_of(pool) <= self.labels and (not tenants or tenant in tenants)
