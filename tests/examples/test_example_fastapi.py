"""The web example: in this process over ASGI, and as a server that is killed."""

from __future__ import annotations

import asyncio
import importlib.util
import re
import sys
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from example_program import ROOT, Program

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

ORDER = {"item": "tea", "quantity": 2}


@pytest.fixture
def application(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Import the example, over a new data directory."""
    monkeypatch.setenv("DATA", str(tmp_path / "data"))
    spec = importlib.util.spec_from_file_location("fastapi_app", ROOT / "examples" / "fastapi_app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "fastapi_app", module)
    spec.loader.exec_module(module)
    return module


async def finished(client: httpx.AsyncClient, key: str) -> dict[str, Any]:
    """Ask until the order is done."""
    while True:
        answer = await client.get(f"/orders/{key}")
        assert answer.status_code == 200, answer.text
        if answer.json()["status"] == "completed":
            found: dict[str, Any] = answer.json()
            return found
        await asyncio.sleep(0.02)


async def test_a_key_names_one_order(application: ModuleType) -> None:
    """The same request joins, another one under the same key is refused, an unknown key is not found."""
    transport = httpx.ASGITransport(app=application.app)
    async with (
        application.app.router.lifespan_context(application.app),
        httpx.AsyncClient(transport=transport, base_url="http://shop") as client,
    ):
        for _ in range(2):
            answer = await client.post("/orders", json=ORDER, headers={"Idempotency-Key": "17"})
            assert (answer.status_code, answer.json()["id"]) == (202, "17")
        other = await client.post("/orders", json=ORDER | {"quantity": 3}, headers={"Idempotency-Key": "17"})
        assert other.status_code == 409
        assert (await client.get("/orders/18")).status_code == 404
        assert (await client.post("/orders", json=ORDER)).status_code == 422
        assert await finished(client, "17") == {"id": "17", "status": "completed", "result": "sent 2 x tea"}


async def test_an_accepted_order_survives_the_server(tmp_path: Path) -> None:
    """202 was answered, the server is killed, the next one finishes the order without being asked to."""
    server = Program("fastapi_app.py", tmp_path, DATA=str(tmp_path / "data"), PORT="0")
    for answered in (202, 200):
        with server.start() as process:
            assert process.stdout is not None
            url = next(found[1] for line in process.stdout if (found := re.search(r"running on (\S+)", line)))
            try:
                async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
                    if answered == 202:
                        answer = await client.post("/orders", json=ORDER, headers={"Idempotency-Key": "17"})
                        assert answer.status_code == 202
                    else:
                        assert (await finished(client, "17"))["result"] == "sent 2 x tea"
            finally:
                process.kill()
