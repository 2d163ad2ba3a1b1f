"""What a good plan may still lack: secrets and variables that the tenant does not have at this moment.

No error: they may be set before the run, and a secret may stand in the executors' settings, which the gateway does not
know.
"""

from services.gateway.ports import TenantValues
from shared.plans.mistakes import MAX_ERRORS, hint, shown
from shared.plans.plan import Plan
from shared.plans.references import Reference, references_in


class PlanWarnings:
    """Looks a plan's names up."""

    def __init__(self, *, secrets: TenantValues, variables: TenantValues) -> None:
        self._known = {"secrets": secrets, "vars": variables}

    async def of(self, tenant: str, plan: Plan) -> list[str]:
        """A sentence for each name that is not there."""
        named = _names_in(plan)
        warnings: list[str] = []
        for root, kind in (("secrets", "secret"), ("vars", "variable")):
            if not (wanted := named[root]):
                continue
            known = await self._known[root].names(tenant)
            warnings += [
                f"there is no {kind} '{shown(name)}' yet{hint(name, known)}"
                for name in sorted(wanted - known)
            ]
        return warnings[:MAX_ERRORS]


def _names_in(plan: Plan) -> dict[str, set[str]]:
    named: dict[str, set[str]] = {"secrets": set(), "vars": set()}
    for reference in _references(plan):
        if reference.root in named:
            named[reference.root].add(reference.name)
    return named


def _references(plan: Plan) -> list[Reference]:
    parts = [plan.env, *([step.command, step.env, step.input] for step in plan.steps)]
    return [reference for part in parts for reference in references_in(part)]
