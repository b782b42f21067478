"""Load on one server: closed loop with wrk, open loop with a schedule of its own."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).parent / "wrk.lua"


@dataclass(frozen=True)
class Load:
    """What one measurement saw. Latencies in milliseconds."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    errors: int
    requests: int


def closed_loop(url: str, bodies: Path, connections: int, duration_s: int) -> Load:
    """As many requests as ``connections`` clients can make, each waiting for its answer.

    ``bodies`` has one request body a line; they are sent in turn. wrk takes whole seconds only.
    """
    command = ["wrk", "-t1", f"-c{connections}", f"-d{duration_s}s", "--timeout", "30s", "-s", str(SCRIPT), url]
    done = subprocess.run(
        [*command, "--", str(bodies)], capture_output=True, text=True, timeout=duration_s + 60, check=True
    )
    said = json.loads(done.stdout.strip().splitlines()[-1])
    return Load(
        said["requests"] / (said["duration_us"] / 1e6),
        said["p50_us"] / 1e3,
        said["p99_us"] / 1e3,
        said["p999_us"] / 1e3,
        said["errors"],
        said["requests"],
    )


async def open_loop(host: str, port: int, path: str, bodies: list[bytes], rate: float, duration_s: float) -> Load:
    """Requests at a fixed rate, whatever the server does; latency counts from the intended moment.

    Keeps up to 256 connections; a request that finds none free waits, and its wait counts.
    """
    idle: asyncio.LifoQueue[tuple[asyncio.StreamReader, asyncio.StreamWriter] | None] = asyncio.LifoQueue()
    for _ in range(256):
        idle.put_nowait(None)
    latencies: list[float] = []
    failed = 0

    async def one(body: bytes, due: float) -> None:
        nonlocal failed
        pair = await idle.get()
        try:
            pair = pair or await asyncio.open_connection(host, port)
            status = await asyncio.wait_for(_exchange(*pair, host, path, body), 30)
            failed += status != 200
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            failed, pair = failed + 1, None
        latencies.append(time.perf_counter() - due)
        idle.put_nowait(pair)

    tasks, begin = [], time.perf_counter()
    for number in range(int(rate * duration_s)):
        due = begin + number / rate
        pause = due - time.perf_counter()
        if pause > 0:
            await asyncio.sleep(pause)
        tasks.append(asyncio.create_task(one(bodies[number % len(bodies)], due)))
    await asyncio.gather(*tasks)
    elapsed = time.perf_counter() - begin
    latencies.sort()
    at = [latencies[min(len(latencies) - 1, int(len(latencies) * share))] * 1e3 for share in (0.5, 0.99, 0.999)]
    return Load(len(latencies) / elapsed, at[0], at[1], at[2], failed, len(latencies))


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, path: str, body: bytes
) -> int:
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    answer = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = answer.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0] if b"content-length:" in answer else None
    if length is not None:
        await reader.readexactly(int(length))
    else:
        while size := int((await reader.readuntil(b"\r\n")).strip(), 16):
            await reader.readexactly(size + 2)
        await reader.readuntil(b"\r\n")
    return int(answer.split(b" ", 2)[1])
