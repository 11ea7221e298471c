#!/usr/bin/env python3
"""Clients that mean no good, against the real program: none of them may stop it, fill its memory or hold up others' mail.

  hostile.py GATEPOST [--long] [--only NAME] [--seed N] [--report PAGE]

Each check attacks, and while the attack stands a message of somebody else must be taken and delivered; the process's largest
memory (VmHWM) must stay below MEMORY_MAX. Short: fewer connections and rounds; --long: the numbers of RELIABILITY.md.
All of it stays on loopback and ends by itself.
"""
import argparse, os, random, resource, shutil, socket, struct, subprocess, sys, tempfile, threading, time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "proof"))
sys.path.insert(0, str(HERE.parent / "peers"))
import proof
from peers import Failed, wait

MEMORY_MAX = 600 << 20
PATIENCE_S = 60


class Gateway(proof.Gateway):
    """As in the proof, with room for ten thousand connections from a thousand addresses."""

    def __init__(self, binary, folder, sink):
        super().__init__(binary, folder, sink)
        settings = (self.folder / "settings.toml").read_text()
        (self.folder / "settings.toml").write_text(settings.replace("connections = 200\nconnections_per_address = 200", "connections = 12000\nconnections_per_address = 50\nmessage_size = \"100 MB\""))

    def memory(self):
        status = Path(f"/proc/{self.child.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024

    def connect(self, number=0, timeout=PATIENCE_S):
        """A connection from an address of its own for each twenty numbers."""
        client = socket.socket()
        client.settimeout(timeout)
        client.bind((f"127.{220 + number // 20 // 250 // 250}.{number // 20 // 250 % 250 + 1}.{number // 20 % 250 + 1}", 0))
        client.connect((self.address, self.port))
        return client


def read_line(client):
    """One reply line, or what came before the end."""
    got = b""
    while not got.endswith(b"\n"):
        try:
            piece = client.recv(1)
        except ConnectionError:
            break
        if not piece:
            break
        got += piece
    return got


def reply(client):
    while (line := read_line(client))[3:4] == b"-":
        pass
    return line


def say(client, line):
    client.sendall(line + b"\r\n")
    return reply(client)


def in_data(client):
    """Brings a connection as far as 354."""
    reply(client)
    for line in (b"EHLO client.test", b"MAIL FROM:<a@sender.test>", b"RCPT TO:<b@now.test>", b"DATA"):
        answer = say(client, line)
        if answer[:1] not in b"23":
            raise Failed(f"{line.decode()} got {answer!r}")


def served(world, what):
    """Somebody else's message goes through meanwhile."""
    name = f"proof-h{next(world.count)}-0-0"
    load = proof.Load(world.gateway, name, clients=0)
    load.send(name, "now", 300)
    if not load.acknowledged:
        raise Failed(f"{what}: another client's mail is not taken: {load.refused}")
    wait(lambda: (name, False) in world.sink.taken, PATIENCE_S, f"{what}: another client's mail is delivered")


def slow(world):
    """Connections that say nothing, or a byte now and then: before EHLO, in a command, in the content."""
    each, clients = world.pick(60, 1000), []
    for number in range(each * 3):
        client = world.gateway.connect(number)
        clients.append((number % 3, client))
        if number % 3 == 2:
            in_data(client)
        else:
            reply(client)
    for _ in range(world.pick(2, 20)):
        for kind, client in clients:
            if kind:
                client.sendall(b"x")
        served(world, "slow clients")
    for _, client in clients:
        client.close()
    return f"{len(clients)} slow clients, others served"


def idle(world):
    """Many connections that do nothing after EHLO."""
    count, clients = world.pick(1_000, 10_000), []
    before = world.gateway.memory()
    for number in range(count):
        client = world.gateway.connect(number)
        reply(client)
        say(client, b"EHLO client.test")
        clients.append(client)
    served(world, "idle clients")
    each = (world.gateway.memory() - before) / count
    for client in clients:
        client.close()
    return f"{count} idle connections, {max(each, 0) / 1024:.1f} KiB each, others served"


def floods(world):
    """Commands without end, known and unknown, all at once."""
    said = []
    for command in (b"NOOP\r\n", b"XYZZY\r\n", b"RSET\r\n", b"EHLO a.test\r\n", b"VRFY x\r\n", b"\r\n"):
        client = world.gateway.connect()
        reply(client)
        sent = send_all(client, command * 1000, world.pick(20, 500))
        said.append(f"{command.strip().decode() or 'empty'} {sent // len(command)}")
        served(world, f"a flood of {command!r}")
        client.close()
    return "commands taken before the end: " + ", ".join(said)


def send_all(client, block, times):
    """Sends a block again and again while it is taken, answers thrown away; octets sent."""
    stop, sent = threading.Event(), 0

    def drain():
        try:
            while not stop.is_set() and client.recv(65536):
                pass
        except OSError:
            pass
    reader = threading.Thread(target=drain, daemon=True)
    reader.start()
    try:
        for _ in range(times):
            client.sendall(block)
            sent += len(block)
    except OSError:
        pass  # it was shut: that is an answer, too
    stop.set()
    return sent


def lines(world):
    """Lines of a hundred million octets, as a command and in the content."""
    block = b"x" * (1 << 20)
    for where in ("command", "content", "header"):
        client = world.gateway.connect()
        if where == "command":
            reply(client)
        else:
            in_data(client)
        if where == "content":
            client.sendall(b"Subject: x\r\n\r\n")
        send_all(client, block, world.pick(10, 100))
        served(world, f"an endless line as {where}")
        client.close()
    return f"lines of {world.pick(10, 100)} MiB as command, header and content"


def bombs(world):
    """A million header fields, MIME in MIME in MIME, recipients without end."""
    taken = []
    deep = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(world.pick(2_000, 50_000)))
    for name, content in (("header fields", b"A: b\r\n" * world.pick(100_000, 1_000_000) + b"\r\nx\r\n"), ("nested parts", deep + b"\r\nx\r\n"),
                          ("one header field", b"Subject:" + b" x\r\n" * world.pick(100_000, 1_000_000) + b"\r\n\r\nx\r\n"),
                          ("received fields", b"Received: from a by b; x\r\n" * 100_000 + b"\r\nx\r\n")):
        client = world.gateway.connect()
        in_data(client)
        client.sendall(content + b".\r\n")
        taken.append(f"{name} {reply(client)[:3].decode()}")
        served(world, name)
        client.close()
    client, count = world.gateway.connect(), 0
    reply(client)
    say(client, b"EHLO client.test")
    say(client, b"MAIL FROM:<a@sender.test>")
    while count < world.pick(3_000, 100_000) and (answer := say(client, b"RCPT TO:<user%d@now.test>" % count))[:1] == b"2":
        count += 1
    client.close()
    served(world, "recipients")
    return f"answers: {', '.join(taken)}; {count} recipients, then {answer[:9].decode()}"


def vanish(world):
    """A whole session cut off after each octet, politely and by a reset."""
    session = (b"EHLO client.test\r\nMAIL FROM:<a@sender.test> SIZE=100\r\nRCPT TO:<b@now.test>\r\nDATA\r\nSubject: cut off\r\n\r\nx\r\n.\r\nMAIL FROM:<>\r\n"
               b"RCPT TO:<b@now.test>\r\nBDAT 20\r\nSubject: y\r\n\r\n12345BDAT 3 LAST\r\n6\r\nQUIT\r\n")
    # A client must wait for the greeting, the rest may be pipelined as far as it goes.
    for at in range(len(session) + 1):
        for reset in (False, True):
            client = world.gateway.connect(at)
            reply(client)
            client.sendall(session[:at])
            if reset:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
    served(world, "clients that vanish")
    return f"{2 * (len(session) + 1)} connections, cut off at each octet"


def noise(world):
    """Sessions with their octets changed by chance: nothing but SMTP replies comes back, and the program lives."""
    chance, count = random.Random(f"{world.seed} noise"), world.pick(400, 20_000)
    words = [b"EHLO ", b"HELO ", b"MAIL FROM:", b"RCPT TO:", b"<", b">", b"@", b"\"", b"\\", b"DATA\r\n", b"BDAT 5", b" LAST", b"\r\n", b".\r\n", b"\n", b"\r", b"\0", b"\xff\xfe",
             "ü".encode(), b"STARTTLS\r\n", b"AUTH PLAIN ", b"=AAA=", b"SIZE=99999999999999999999", b"BODY=8BITMIME", b"SMTPUTF8", b"[127.0.0.1]", b"[IPv6:::1]", b"a" * 64, b"a" * 300,
             b"now.test", b"user", b"RET=HDRS", b"ENVID=x+zz", b"NOTIFY=NEVER", b"ORCPT=rfc822;x", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", b"GET / HTTP/1.1\r\n", b"\x16\x03\x01\x02\x00", b"XCLIENT ADDR=1.2.3.4"]
    for number in range(count):
        client = world.gateway.connect(number, timeout=10)
        try:
            reply(client)
            client.sendall(b"EHLO c.test\r\n" + b"".join(chance.choice(words) + (b" " if chance.random() < 0.3 else b"") for _ in range(chance.randrange(1, 40))))
            client.shutdown(socket.SHUT_WR)
            got = b""
            while piece := client.recv(65536):
                got += piece
            for line in got.split(b"\r\n")[:-1]:
                if not (line[:3].isdigit() and line[3:4] in (b" ", b"-")) and b"\x15\x03" not in got and b"\x16\x03" not in got:
                    raise Failed(f"not a reply: {line!r}")
        except (ConnectionError, TimeoutError):
            pass
        client.close()
    served(world, "noise")
    return f"{count} sessions of noise"


CHECKS = (slow, idle, floods, lines, bombs, vanish, noise)


class World(proof.World):
    pass


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("binary", nargs="?", default="target/debug/gatepost", type=Path)
    words.add_argument("--long", action="store_true")
    words.add_argument("--only", action="append", choices=[check.__name__ for check in CHECKS])
    words.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    words.add_argument("--report", type=Path, help="write the figures between the marks of this page")
    said = words.parse_args()
    binary, root = said.binary.resolve(), Path(tempfile.mkdtemp(prefix="gatepost-hostile-"))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 50_000) if most > 0 else 50_000, most))
    world = World(binary, root, said.long, said.seed, False, None)
    world.count, world.sink = proof.itertools.count(1), proof.Sink(refuses=False)
    print(f"seed {said.seed}", flush=True)
    failed, results = 0, {}
    for check in CHECKS:
        if said.only and check.__name__ not in said.only:
            continue
        world.gateway = Gateway(binary, world.folder(check.__name__), world.sink)
        began = time.monotonic()
        try:
            world.gateway.start()
            told = check(world)
            memory = world.gateway.memory()
            if world.gateway.child.poll() is not None:
                raise Failed(f"the gateway ended: {world.gateway.last_words()}")
            if "panicked" in (world.gateway.folder / "output").read_text(errors="replace"):
                raise Failed(world.gateway.last_words())
            if memory > MEMORY_MAX:
                raise Failed(f"{told}; but it took {memory >> 20} MiB of memory, more than {MEMORY_MAX >> 20}")
            results[check.__name__] = f"{told}; {memory >> 20} MiB at most"
            print(f"ok {check.__name__} ({time.monotonic() - began:.0f} s): {results[check.__name__]}", flush=True)
        except (Failed, OSError) as reason:
            failed += 1
            print(f"FAIL {check.__name__}: {reason!r}", flush=True)
        finally:
            world.gateway.kill() if world.gateway.child else None
    world.sink.stop()
    if said.report and not failed:
        proof.report(said.report, said.seed, results, "hostile")
    if failed == 0:
        shutil.rmtree(root, ignore_errors=True)
    else:
        print(f"left in {root}")
    print(f"{len(results)} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
