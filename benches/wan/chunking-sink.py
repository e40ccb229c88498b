#!/usr/bin/env python3
"""A next hop that offers CHUNKING (RFC 3030), which smtp-sink does not: chunking-sink.py ADDRESS PORT

Throws away what comes and says "sess=N mesg=N", connections that ended and messages, after each message, as smtp-sink -c does.
"""
import asyncio, sys

LARGEST = 1 << 22
count = sessions = 0


async def serve(client, answers):
    global count, sessions
    answers.write(b"220 far.example.test ESMTP\r\n")
    while line := await client.readline():
        verb, answer, whole = line[:4].upper(), b"250 2.0.0 ok\r\n", False
        if verb == b"EHLO":
            answer = b"250-far.example.test\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 8BITMIME\r\n"
        elif verb == b"BDAT":
            await client.readexactly(int(line.split()[1]))
            whole = b"LAST" in line.upper()
        elif verb == b"DATA":
            answers.write(b"354 go on\r\n")
            await client.readuntil(b"\r\n.\r\n")
            whole = True
        elif verb == b"QUIT":
            answers.write(b"221 2.0.0 bye\r\n")
            break
        count += whole
        if whole:
            print(f"sess={sessions} mesg={count}", flush=True)
        answers.write(answer)
    sessions += 1
    answers.close()


async def main():
    server = await asyncio.start_server(serve, sys.argv[1], int(sys.argv[2]), backlog=4000, limit=LARGEST)
    await server.serve_forever()


asyncio.run(main())
