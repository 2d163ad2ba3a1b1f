"""Cadenza: runs are submitted over REST; starts and ends are told by whoever reads `execution-events`."""

import asyncio
import json
import os

import aiohttp
from driving import drive


async def main() -> None:
    plans = json.loads(os.environ["CADENZA_PLANS"])
    url = os.environ["CADENZA_URL"] + "/v1/executions"
    async with aiohttp.ClientSession(headers={"X-API-Key": os.environ["CADENZA_KEY"]}) as session:

        async def submit(kind: str, _run: str) -> str:
            async with session.post(url, json={"plan": plans[kind]}) as answer:
                body = await answer.json()
                assert answer.status == 202, body
            return body["execution_id"]

        await drive(submit)


if __name__ == "__main__":
    asyncio.run(main())
