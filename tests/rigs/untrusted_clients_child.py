"""Untrusted clients at a port of this machine: a thousand are silent, five hundred slow, fifty hostile.

    python untrusted_clients_child.py PORT

They go on until the standard input ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

POST = b"POST %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked"
SLOW = (b"GET / HTTP/1.1\r\nX: ", POST % (b"/x", b"Content-Length: 1000000"))
HOSTILE = (
    POST % (b"/infer/object_detection", CHUNKED) + b"1\r\nA\r\n" * 400_000,
    POST % (b"/datapoints", CHUNKED) + b"1\r\n{\r\n" * 400_000,
    b"GET / HTTP/9.9\r\n\r\n",
    b"\r\n" * 100_000,
    b"X: " + b"x" * 100_000,
    b"".join([b"GET / HTTP/1.1\r\n"] + [b"a:\r\n"] * 16_000),
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000,
)


async def crowd(port: int) -> None:
    """Run all clients; whichever is cut connects again."""
    said = [(b"", False)] * 1000 + [(SLOW[number % 2], True) for number in range(500)]
    said += [(HOSTILE[number % len(HOSTILE)], False) for number in range(50)]
    strangers = [asyncio.create_task(_stranger(port, *each)) for each in said]
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for stranger in strangers:
        stranger.cancel()
    await asyncio.wait(strangers)


async def _stranger(port: int, said: bytes, goes_on: bool) -> None:
    while True:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(said)
                await writer.drain()
                while goes_on:
                    await asyncio.sleep(0.5)
                    writer.write(b"x")
                    await writer.drain()
                while await reader.read(65536):
                    pass
            finally:
                writer.close()
        await asyncio.sleep(5.0)


if __name__ == "__main__":
    asyncio.run(crowd(int(sys.argv[1])))
