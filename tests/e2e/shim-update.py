#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Updates a running task's resources through its shim, since ctr has no command for it.

shim-update.py ADDRESS-FILE ID RESOURCES-JSON

Speaks ttrpc: a frame is a big-endian length (4 bytes), stream id (4), type (1), flags (1) and a
protobuf message; the call is containerd.task.v2.Task/Update.
"""
import socket
import struct
import sys


def varint(n):
    out = b""
    while n > 0x7F:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def fields(data):
    """Yields (number, value) of a protobuf message of varints and byte strings."""

    def number(at):
        value = shift = 0
        while True:
            value |= (data[at] & 0x7F) << shift
            shift += 7
            at += 1
            if data[at - 1] < 0x80:
                return value, at

    at = 0
    while at < len(data):
        key, at = number(at)
        value, at = number(at)
        if key & 7 == 2:
            value, at = data[at : at + value], at + value
        yield key >> 3, value


def read(sock, count):
    data = b""
    while len(data) < count:
        part = sock.recv(count - len(data))
        if not part:
            raise SystemExit("the shim closed the connection")
        data += part
    return data


def main():
    address_file, container, resources = sys.argv[1:]
    kind = b"types.containerd.io/opencontainers/runtime-spec/1/LinuxResources"
    update = field(1, container.encode()) + field(2, field(1, kind) + field(2, resources.encode()))
    call = field(1, b"containerd.task.v2.Task") + field(2, b"Update") + field(3, update)
    with open(address_file, encoding="utf-8") as file:
        path = file.read().strip().removeprefix("unix://")
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(30)
    sock.connect(path)
    sock.sendall(struct.pack(">IIBB", len(call), 1, 1, 0) + call)
    size, _, _, _ = struct.unpack(">IIBB", read(sock, 10))
    for number, value in fields(read(sock, size)):
        if number == 1:
            status = dict(fields(value))
            if status.get(1):
                raise SystemExit(f"update: code {status[1]}: {status.get(2, b'').decode()}")


main()
