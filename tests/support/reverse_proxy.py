"""`python -m tests.support.reverse_proxy URL PREFIX keep|remove`: a reverse proxy in a process of its own.

It serves a server under a path prefix, which it keeps or removes in the requests that it passes on, and tells the server
in the usual headers who asked. It prints its address.
"""

import asyncio
import sys
from urllib.parse import urlsplit


async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    finally:
        sink.close()


async def main(target: str, prefix: str, keep: bool) -> None:
    address = urlsplit(target)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, *headers = (await reader.readuntil(b"\r\n\r\n")).rstrip().split(b"\r\n")
        method, path, version = line.split(b" ")
        if not path.startswith(prefix.encode()):
            writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            writer.close()
            return
        passed_on = path if keep else path.removeprefix(prefix.encode()) or b"/"
        kept = [header for header in headers if not header.lower().startswith((b"connection:", b"x-forwarded"))]
        kept += [
            b"Connection: close",
            b"X-Forwarded-For: 203.0.113.9",
            b"X-Forwarded-Proto: https",
            b"X-Forwarded-Host: studio.example",
        ]
        there, back = await asyncio.open_connection(address.hostname, address.port)
        back.write(b"\r\n".join([b" ".join([method, passed_on, version]), *kept, b"", b""]))
        await asyncio.gather(pump(reader, back), pump(there, writer), return_exceptions=True)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    sys.stdout.write(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}{prefix}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3] == "keep"))
