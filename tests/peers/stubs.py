"""A next hop and a name server for tests. They say what is usual; a test overrides the small methods for what it wants said."""
import asyncio, socket, struct, threading

from peers import Failed

# The longest message that a sink takes.
CONTENT_MAX = 64 << 20


class Session:
    """One connection to a sink; sender and recipients are those of the message under way. `mood` is the test's own."""

    def __init__(self, reader, writer):
        self.reader, self.writer, self.mood, self.encrypted = reader, writer, None, False
        self.sender, self.recipients, self.messages = b"", [], 0

    def say(self, reply):
        self.writer.write(reply.encode() + b"\r\n")

    @property
    def report(self):
        """Whether the message is one about another message."""
        return b"<>" in self.sender


class Sink:
    """A next hop at an address of its own, in a thread of its own."""
    name = "sink.test"
    offers = ("PIPELINING", "8BITMIME", "SIZE 0")

    def __init__(self, address, port):
        self.address, self.port = address, port
        self.loop, started = asyncio.new_event_loop(), threading.Event()

        def run():
            asyncio.set_event_loop(self.loop)
            self.server = self.loop.run_until_complete(asyncio.start_server(self.serve, address, port, limit=CONTENT_MAX, backlog=1000))
            started.set()
            self.loop.run_forever()
        threading.Thread(target=run, daemon=True).start()
        if not started.wait(10):
            raise Failed(f"the sink at {address}:{port} did not start")

    # What it says: each gives the reply, or None to hang up.

    async def greet(self, session):
        return f"220 {self.name} ESMTP"

    async def hear(self, session, verb):
        """Before each command; False hangs up."""
        return True

    async def mail(self, session):
        return "250 2.1.0 ok"

    async def rcpt(self, session, line):
        return "250 2.1.5 ok"

    async def data(self, session):
        return "354 go on"

    async def content(self, session, content):
        """`content` as it came, with the final dot."""
        return "250 2.0.0 kept"

    def tls(self, session):
        """The context of STARTTLS, if it is offered."""
        return None

    async def serve(self, reader, writer):
        session = Session(reader, writer)
        try:
            await self.talk(session)
        except (OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            session.writer.close()

    async def talk(self, session):
        reply = await self.greet(session)
        while reply is not None:
            if reply:
                session.say(reply)
            await session.writer.drain()
            line = await session.reader.readline()
            verb = line.upper().split()[:1]
            if not line or not await self.hear(session, verb):
                return
            if verb == [b"EHLO"]:
                tls = ("STARTTLS",) if self.tls(session) and not session.encrypted else ()
                words = (self.name, *self.offers, *tls)
                reply = "\r\n".join(f"250{' ' if at == len(words) else '-'}{word}" for at, word in enumerate(words, 1))
            elif verb == [b"STARTTLS"]:
                session.say("220 2.0.0 go on")
                await session.writer.start_tls(self.tls(session))
                session.encrypted, reply = True, ""  # the client speaks next
            elif verb == [b"MAIL"]:
                session.sender, session.recipients = line, []
                reply = await self.mail(session)
            elif verb == [b"RCPT"]:
                reply = await self.rcpt(session, line)
                if reply and reply[0] == "2":
                    session.recipients.append(line)
            elif verb == [b"DATA"] and not session.recipients:
                reply = "554 5.5.1 no valid recipients"
            elif verb == [b"DATA"]:
                reply = await self.data(session)
                if reply and reply[0] == "3":
                    session.say(reply)
                    content = await session.reader.readuntil(b"\r\n.\r\n")
                    session.messages += 1
                    reply = await self.content(session, content)
            elif verb == [b"QUIT"]:
                session.say("221 2.0.0 bye")
                await session.writer.drain()
                return
            else:
                reply = "250 2.0.0 ok"

    def stop(self):
        async def close():
            self.server.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            self.loop.call_soon(self.loop.stop)
        asyncio.run_coroutine_threadsafe(close(), self.loop)


MX, A, AAAA = 15, 1, 28


def encoded(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def mx(preference, host):
    return struct.pack("!H", preference) + encoded(host)


class Dns:
    """A name server over UDP and TCP. `records`: (name, type) to a list of data. What has none there does not exist."""

    def __init__(self, address, port, records, ttl_s=60):
        self.address, self.port, self.records, self.ttl_s = address, port, records, ttl_s
        self.udp, self.tcp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket()
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for opened in (self.udp, self.tcp):
            opened.bind((address, port))
        self.tcp.listen(50)
        threading.Thread(target=self.serve, daemon=True).start()
        threading.Thread(target=self.serve_tcp, daemon=True).start()

    def mood(self, name):
        """good, fail (SERVFAIL), silent, short (truncated over UDP), gone (NXDOMAIN) or empty."""
        return "good"

    def serve(self):
        while True:
            query, client = self.udp.recvfrom(4096)
            if answer := self.answer(query, True):
                self.udp.sendto(answer, client)

    def serve_tcp(self):
        while True:
            client, _ = self.tcp.accept()
            with client:
                client.settimeout(2)
                try:
                    while len(length := client.recv(2)) == 2:
                        answer = self.answer(client.recv(struct.unpack("!H", length)[0]), False)
                        client.sendall(struct.pack("!H", len(answer)) + answer)
                except OSError:
                    pass

    def answer(self, query, udp):
        at, labels = 12, []
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode("latin-1").lower())
            at += query[at] + 1
        question, name, kind = query[12:at + 5], ".".join(labels), struct.unpack("!H", query[at + 1:at + 3])[0]
        records = self.records  # a test may put others in their place meanwhile
        mood = self.mood(name) if udp else "good"
        if mood == "silent":
            return None
        found = records.get((name, kind), []) if mood == "good" else []
        exists = mood != "gone" and any(known == name for known, _ in records)
        flags = 0x8580 | (2 if mood == "fail" else 0 if exists else 3) | (0x0200 if mood == "short" else 0)
        body = b"".join(b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, self.ttl_s, len(data)) + data for data in found)
        return query[:2] + struct.pack("!HHHHH", flags, 1, len(found), 0, 0) + question + body
