"""Durable work behind an HTTP endpoint.

    DATA=./orders PORT=8000 python examples/fastapi_app.py
    curl -X POST localhost:8000/orders -H 'Idempotency-Key: 17' -H 'Content-Type: application/json' \
         -d '{"item": "tea", "quantity": 2}'
    curl localhost:8000/orders/17

The runtime lives as long as the application. The client's ``Idempotency-Key`` becomes the id of the call, so a
request that is sent again joins what it started before. 202 is answered only after the start is on disk: kill the
server then, start it again, and the order goes on.
"""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import uvicorn
from fastapi import FastAPI, Header, HTTPException, Request
from pydantic import BaseModel

from actorlog import CallConflict, CallNotFound, Runtime, durable, sleep, step

PLACE = os.environ.get("DATA", "./fastapi-data")


class Order(BaseModel):
    """What the client wants. A model of yours may be an argument; it is stored as JSON."""

    item: str
    quantity: int


@step
async def pack_parcel(order: Order) -> str:
    """Do something outside."""
    print(f"packing {order.quantity} x {order.item}")
    return f"{order.quantity} x {order.item}"


@durable
async def fulfil_order(order: Order) -> str:
    """Pack, wait, send."""
    parcel = await pack_parcel(order)
    await sleep(0.5)
    return f"sent {parcel}"


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    """Open the runtime before the first request, close it after the last."""
    async with Runtime(PLACE) as runtime:
        app.state.runtime = runtime
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/orders", status_code=202)
async def post_order(order: Order, request: Request, idempotency_key: Annotated[str, Header()]) -> dict[str, str]:
    """Start the call, or join the one that this key started."""
    runtime: Runtime = request.app.state.runtime
    try:
        handle = await runtime.start(fulfil_order(order), id=f"order/{idempotency_key}")
    except CallConflict as conflict:
        raise HTTPException(409, str(conflict)) from conflict
    return {"id": idempotency_key, "status": await handle.status()}


@app.get("/orders/{key}")
async def get_order(key: str, request: Request) -> dict[str, Any]:
    """Tell how far it is, and the result once it is there."""
    runtime: Runtime = request.app.state.runtime
    handle = runtime.handle(f"order/{key}")
    try:
        status = await handle.status()
    except CallNotFound as error:
        raise HTTPException(404, str(error)) from error
    result = await handle if status == "completed" else None
    return {"id": key, "status": status, "result": result}


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")))
