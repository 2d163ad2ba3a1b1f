"""The scanner's ports in memory."""

import asyncio
from datetime import UTC, datetime, timedelta

from services.scanner.models import Found, Resource, Scope


def a_resource(identifier, scope, **more):
    return Resource(
        resource_type=f"{scope.service}_thing",
        identifier=identifier,
        account_id=scope.account,
        account_name="sandbox",
        region=scope.region,
        service=scope.service,
        arn=f"arn:aws:{scope.service}:{scope.region}:{scope.account}:thing/{identifier}",
        name=identifier,
        state="running",
        **more,
    )


class FakeCloud:
    """Answers per scope from `things`: a list of identifiers, an error, or a list of these, one per attempt."""

    def __init__(self, things, *, latency=0.0, services=None):
        self.things = things
        self.latency = latency
        self._services = services or {"ec2": False, "s3": True}
        self.open = ["us-east-1", "eu-west-1"]
        self.refusals = {}
        self.looked = []
        self.entered = []
        self.inside = set()
        self.most_regions = self.most_looks = self.looks = 0

    def services(self):
        return self._services

    async def enter(self, account):
        self.entered.append(account.id)
        if account.id in self.refusals:
            raise self.refusals[account.id]
        return FakeEstate(self, account)


class FakeEstate:
    def __init__(self, cloud, account):
        self.cloud, self.account = cloud, account

    async def regions(self):
        if isinstance(self.cloud.open, Exception):
            raise self.cloud.open
        return self.cloud.open

    async def look(self, scope):
        cloud = self.cloud
        cloud.looked.append(scope)
        cloud.inside.add((scope.region, scope.service))
        cloud.looks += 1
        cloud.most_looks = max(cloud.most_looks, cloud.looks)
        cloud.most_regions = max(cloud.most_regions, len({region for region, _ in cloud.inside}))
        try:
            await asyncio.sleep(cloud.latency)
        finally:
            cloud.looks -= 1
            cloud.inside.discard((scope.region, scope.service))
        answer = cloud.things.get(str(scope), [])
        if answer and isinstance(answer, list) and isinstance(answer[0], list | Exception):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Found):
            return answer
        return Found([a_resource(identifier, scope) for identifier in answer])


class MemoryResources:
    """Resources in a dict; time moves on with every look at the clock."""

    def __init__(self):
        self.stored = {}
        self._now = datetime(2026, 1, 1, tzinfo=UTC)

    async def server_time(self):
        self._now += timedelta(milliseconds=1)
        return self._now

    async def upsert(self, resources, *, tenant, scope, scan_id):
        now = await self.server_time()
        for resource in resources:
            self.stored[tenant, *resource.key()] = (resource, str(scope), now, scan_id)
        return len(resources)

    async def sweep(self, scope, *, tenant, unseen_since):
        stale = [
            key
            for key, (_, where, seen, _) in self.stored.items()
            if key[0] == tenant and where == str(scope) and seen < unseen_since
        ]
        for key in stale:
            del self.stored[key]
        return len(stale)

    def identifiers(self, tenant="demo"):
        return sorted(key[-1] for key in self.stored if key[0] == tenant)


def scope(text):
    return Scope(*text.split("/"))
