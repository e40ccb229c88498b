"""A smart host of Python's own: STARTTLS, AUTH PLAIN, and a line in FOLDER/taken for every recipient of a message that it
took. Prints its port."""

import asyncio, base64, os, ssl, sys

folder, certificate, secret = sys.argv[1:4]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate)


async def serve(reader, writer):
    async def say(*lines):
        writer.write("".join(line + "\r\n" for line in lines).encode())
        await writer.drain()

    secured, known, to = False, False, []
    await say("220 smart-host.example ESMTP")
    while line := (await reader.readline()).decode().strip():
        verb = line.split(" ")[0].upper()
        if verb == "EHLO":
            offers = ["AUTH PLAIN"] if secured else ["STARTTLS"]
            await say("250-smart-host.example", "250 " + offers[0])
        elif verb == "STARTTLS":
            await say("220 go ahead")
            await writer.start_tls(context)
            secured = True
        elif verb == "AUTH":
            shown = base64.b64decode(line.split(" ")[2]).decode().split("\0")
            known = secured and shown[2] == secret
            await say("235 2.7.0 yes" if known else "535 5.7.8 no")
        elif verb == "MAIL":
            to = []
            await say("250 2.1.0 ok" if known else "530 5.7.0 who are you")
        elif verb == "RCPT":
            to.append(line[line.index("<") + 1:line.index(">")])
            await say("250 2.1.5 ok")
        elif verb == "DATA":
            await say("354 go on")
            while (await reader.readline()) not in (b".\r\n", b""):
                pass
            with open(os.path.join(folder, "taken"), "a") as taken:
                taken.writelines(one + "\n" for one in to)
            await say("250 2.0.0 taken")
        elif verb == "QUIT":
            await say("221 2.0.0 bye")
            break
        else:
            await say("250 2.0.0 ok")
    writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
