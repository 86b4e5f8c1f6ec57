"""An exchange that knows nothing, answers at once and remembers when each order came: `python -m bench.sink PORT`."""

import asyncio
import json
import sys
import time

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
_arrivals: list[float] = []


class Sink(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        body = b"{}"
        if data.startswith(b"GET"):
            body = json.dumps(_arrivals).encode()
            _arrivals.clear()
        elif data.startswith(b"POST"):
            _arrivals.append(time.time())
        self.transport.write(OK % (len(body), body))


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
