#!/usr/bin/env python3
"""A name server on 127.0.0.1:PORT that knows no name and says so for an hour (RFC 2308): nowhere.py PORT."""
import socket, struct, sys

server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", int(sys.argv[1])))
soa = b"\0" + struct.pack(">HHIH", 6, 1, 3600, 22) + b"\0\0" + struct.pack(">IIIII", 1, 3600, 600, 86400, 3600)
while True:
    query, client = server.recvfrom(4096)
    at = 12
    while at < len(query) and query[at]:
        at += 1 + query[at]
    if len(query) < at + 5:
        continue
    head = query[:2] + struct.pack(">HHHHH", 0x8583, 1, 0, 1, 0)  # a response, authoritative, NXDOMAIN
    server.sendto(head + query[12:at + 5] + soa, client)
