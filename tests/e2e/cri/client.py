#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A kubelet's end of the Container Runtime Interface, as far as the tests go.

client.py SOCKET METHOD [JSON]                  one call; its answer as JSON, a line of its own
client.py SOCKET exec JSON [OPTION...]          exec, attach: JSON is the request
client.py SOCKET attach JSON [OPTION...]          --size=77x33: of the terminal; standard input is passed on
                                                  --until=TEXT: hang up once that was printed
client.py SOCKET port-forward JSON              standard input to the port and the answer back, until it is closed

exec ends with the program's exit code. Debian has no crictl; python3-grpcio carries the calls, the
messages (messages.py) are coded here, and the streaming server is spoken to by WebSocket.
"""
import json
import os
import socket
import struct
import sys
import threading
from urllib.parse import urlparse

import grpc

from messages import IMAGE_METHODS, MESSAGES, METHODS


def varint(n):
    n &= (1 << 64) - 1
    out = b""
    while n > 0x7F:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


def chunk(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def encode(kind, value):
    """The bytes of a message from its JSON; an unknown field is an error."""
    fields, out = MESSAGES[kind], b""
    for name, v in value.items():
        if name not in fields:
            raise SystemExit(f"{kind} has no field {name}")
        number, of = fields[name]
        if of == "map":
            items = [chunk(1, k.encode()) + chunk(2, x.encode()) for k, x in v.items()]
        elif of.startswith("*"):
            of, items = of[1:], v
        else:
            items = [v]
        for item in items:
            if of == "int":
                out += varint(number << 3) + varint(int(item))
            elif of == "str":
                out += chunk(number, item.encode())
            else:
                out += chunk(number, item if of == "map" else encode(of, item))
    return out


def parts(data):
    """(number, value) of each field: whole numbers and byte strings, which is all that the CRI has."""
    at = 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            value |= (byte & 0x7F) << shift
            shift, at = shift + 7, at + 1
            if byte < 0x80:
                return value

    while at < len(data):
        key = number()
        if key & 7 == 1:  # a double: only pressure has them
            value, at = None, at + 8
        else:
            value = number()
        if key & 7 == 2:
            value, at = data[at : at + value], at + value
        yield key >> 3, value


def decode(kind, data):
    """JSON of a message: every field that is a value or a list, also if it was not sent."""
    names = {number: (name, of) for name, (number, of) in MESSAGES[kind].items()}
    out = {}
    for name, of in names.values():
        if of in ("int", "str", "map") or of.startswith("*"):
            out[name] = {"int": 0, "str": "", "map": {}}.get(of, [] if of[0] == "*" else None)
    for number, value in parts(data):
        if number not in names:
            continue
        name, of = names[number]
        if of == "int":
            out[name] = value - (1 << 64) if value >> 63 else value
        elif of == "str":
            out[name] = value.decode(errors="replace")
        elif of == "map":
            pair = dict(parts(value))
            out[name][pair.get(1, b"").decode()] = pair.get(2, b"").decode(errors="replace")
        elif of.startswith("*"):
            out[name].append(value.decode() if of == "*str" else value if of == "*int" else decode(of[1:], value))
        else:
            out[name] = decode(of, value)
    return out


def call(path, method, request):
    service = "ImageService" if method in IMAGE_METHODS else "RuntimeService"
    asks, answers = METHODS[method]
    with grpc.insecure_channel(f"unix:{path}") as channel:
        unary = channel.unary_unary(f"/runtime.v1.{service}/{method}")
        try:
            return decode(answers, unary(encode(asks, request), timeout=60))
        except grpc.RpcError as error:
            raise SystemExit(f"{method}: {error.code().name}: {error.details()}") from None


class WebSocket:
    """Binary messages over RFC 6455, the client's end."""

    def __init__(self, url, protocol):
        url = urlparse(url)
        self.sock = socket.create_connection((url.hostname, url.port), 60)
        self.sock.sendall(
            f"GET {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            f"Sec-WebSocket-Protocol: {protocol}\r\nOrigin: http://{url.netloc}\r\n\r\n".encode()
        )
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.exactly(1)
        if b" 101 " not in head.split(b"\r\n")[0]:
            raise SystemExit(f"the streaming server says {head.decode()}")

    def exactly(self, count):
        data = b""
        while len(data) < count:
            more = self.sock.recv(count - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def send(self, data, opcode=2):
        size = len(data)
        if size < 126:
            head = struct.pack(">BB", 0x80 | opcode, 0x80 | size)
        elif size < 65536:
            head = struct.pack(">BBH", 0x80 | opcode, 0x80 | 126, size)
        else:
            head = struct.pack(">BBQ", 0x80 | opcode, 0x80 | 127, size)
        self.sock.sendall(head + bytes(4) + data)  # a mask of zeros

    def messages(self):
        """Until the other end closes."""
        try:
            while True:
                first, size = self.exactly(2)
                if size & 0x7F == 126:
                    (size,) = struct.unpack(">H", self.exactly(2))
                elif size & 0x7F == 127:
                    (size,) = struct.unpack(">Q", self.exactly(8))
                data = self.exactly(size)
                if first & 0x0F == 8:
                    return
                if first & 0x0F == 9:
                    self.send(data, 10)
                elif data:
                    yield data
        except (EOFError, ConnectionResetError):
            return


def pump(to, channel):
    def loop():
        while data := os.read(0, 32768):
            to.send(bytes([channel]) + data)

    threading.Thread(target=loop, daemon=True).start()


def stream(path, what, request, options):
    """Channels 0, 1, 2 are the standard ones, 3 tells how it ended, 4 takes sizes."""
    url = call(path, {"exec": "Exec", "attach": "Attach"}[what], request)["url"]
    socket_ = WebSocket(url, "v4.channel.k8s.io")
    if "size" in options:
        width, height = options["size"].split("x")
        socket_.send(b"\x04" + json.dumps({"Width": int(width), "Height": int(height)}).encode())
    if request.get("stdin"):
        pump(socket_, 0)
    seen, code = b"", 0
    for message in socket_.messages():
        channel, data = message[0], message[1:]
        if channel in (1, 2):
            os.write(channel, data)
            seen += data
            if "until" in options and options["until"].encode() in seen:
                return 0
        elif channel == 3 and data:
            status = json.loads(data)
            if status["status"] != "Success":
                causes = {c["reason"]: c["message"] for c in status.get("details", {}).get("causes", [])}
                if "ExitCode" not in causes:
                    raise SystemExit(f"{what}: {status['message']}")
                code = int(causes["ExitCode"])
    return code


def forward(path, request):
    """Two channels for each port, data and errors, each opened by the port's number."""
    socket_ = WebSocket(call(path, "PortForward", request)["url"], "v4.channel.k8s.io")
    pump(socket_, 0)
    opened = set()
    for message in socket_.messages():
        channel, data = message[0], message[1:]
        if channel not in opened:
            opened.add(channel)
            if struct.unpack("<H", data[:2])[0] != request["port"][0]:
                raise SystemExit(f"channel {channel} is for another port")
            data = data[2:]
        if channel == 0:
            os.write(1, data)
        elif data:
            raise SystemExit(f"port-forward: {data.decode()}")
    return 0


def main():
    path, method, *rest = sys.argv[1:]
    request = json.loads(rest[0]) if rest else {}
    options = dict(o[2:].split("=", 1) for o in rest[1:])
    if method in ("exec", "attach"):
        sys.exit(stream(path, method, request, options))
    if method == "port-forward":
        sys.exit(forward(path, request))
    print(json.dumps(call(path, method, request)))


if __name__ == "__main__":
    main()
