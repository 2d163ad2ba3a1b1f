"""The floor under the gateway: a FastAPI handler that only produces to the same Kafka and answers 202.

python -m benchmarks.floor PORT BOOTSTRAP_SERVERS
"""

import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from aiokafka import AIOKafkaProducer
from fastapi import FastAPI, Request


def build(servers: str) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.producer = AIOKafkaProducer(
            bootstrap_servers=servers, acks="all", enable_idempotence=True, linger_ms=1
        )
        await app.state.producer.start()
        yield
        await app.state.producer.stop()

    app = FastAPI(lifespan=lifespan)

    @app.post("/v1/executions", status_code=202)
    async def accept(request: Request) -> dict[str, str]:
        execution_id = str(uuid.uuid4())
        body = await request.body()
        # A topic that nobody reads here, so that the floor pays for the broker and for nothing else.
        await request.app.state.producer.send_and_wait("audit-log", body, key=execution_id.encode())
        return {"execution_id": execution_id}

    @app.get("/health/ready")
    async def ready() -> dict[str, str]:
        return {"kafka": "ok"}

    return app


if __name__ == "__main__":
    uvicorn.run(build(sys.argv[2]), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
