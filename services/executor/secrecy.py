"""What the steps of one run may know, and what their output must not show.

A step gets the secrets and variables that it names. What is masked is more: every secret of the plan, since a step may
print what an earlier one has written down, and every value that an earlier step has put out as an encrypted field.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from services.executor.planning.data import named_in
from services.executor.sealing import Sealed
from shared.errors import NotFound, PermanentError
from shared.plans.plan import Plan, Step
from shared.plans.references import BadReference
from shared.security.redaction import Redactor
from shared.security.secrets import SecretSource

_PLAIN = Redactor()


@dataclass(frozen=True, slots=True)
class Known:
    """What one try of a step gets."""

    secrets: Mapping[str, str]
    variables: Mapping[str, str]
    redactor: Redactor


class RunSecrecy:
    """Of one run."""

    def __init__(
        self, plan: Plan, tenant: str, *, secrets: SecretSource, variables: SecretSource
    ) -> None:
        self._plan = plan
        self._tenant = tenant
        self._secrets = secrets
        self._variables = variables
        self._looked = asyncio.Lock()
        self._others_hidden = len(plan.steps) == 1
        self._hidden: set[str] = set()
        self._redactor = _PLAIN
        self._masked: frozenset[str] = frozenset()

    async def of(self, step: Step) -> Known:
        """Read what the step names. Raises NotFound, BadReference, SecretUnreadable."""
        named = named_in(self._plan, step)
        secrets = await self._read(self._secrets, named.secrets, "secret")
        variables = await self._read(self._variables, named.variables, "variable")
        if not self._others_hidden:
            await self._hide_others()
        self.hide(secrets.values())
        return Known(secrets, variables, self.redactor)

    async def secret(self, name: str) -> str:
        """One secret, which is masked from here on. Raises NotFound."""
        value = (await self._read(self._secrets, {name}, "secret"))[name]
        self._hidden.add(value)
        return value

    async def variables(self, names: Iterable[str]) -> Mapping[str, str]:
        """Raises NotFound."""
        return await self._read(self._variables, names, "variable")

    def hide(self, values: Iterable[str]) -> None:
        """Mask these from here on."""
        self._hidden.update(values)

    def without_hidden(self, sealed: Sealed) -> Sealed:
        """The same, masked where a value of an encrypted field has come in by another way."""
        if not self._hidden:
            return sealed
        masked = self.redactor.redact_json(sealed.input, fields=False)
        return replace(sealed, input=masked)

    @property
    def redactor(self) -> Redactor:
        """Knows everything that is to be masked by now; made anew only when there is more."""
        if len(self._hidden) != len(self._masked):
            self._masked = frozenset(self._hidden)
            self._redactor = Redactor(self._masked)
        return self._redactor

    async def _hide_others(self) -> None:
        """Mask every secret that any step names; looked for once."""
        async with self._looked:
            for name in () if self._others_hidden else sorted(_all_names(self._plan)):
                try:
                    self._hidden.add(await self._secrets.get(self._tenant, name))
                except PermanentError:
                    continue  # the step that names it will say so
            self._others_hidden = True

    async def _read(self, source: SecretSource, names: Iterable[str], kind: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for name in sorted(names):
            try:
                found[name] = await source.get(self._tenant, name)
            except NotFound:
                raise NotFound(f"there is no {kind} '{name}'") from None
        return found


def _all_names(plan: Plan) -> set[str]:
    names: set[str] = set()
    for step in plan.steps:
        try:
            names |= named_in(plan, step).secrets
        except BadReference:
            continue  # that step will say so
    return names
