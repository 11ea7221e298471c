#!/usr/bin/env python3
"""A gateway in a world that goes wrong all the time, by chance and from a seed.

  soak.py GATEPOST [--seconds N] [--seed N] [--report PAGE]

Clients send; next hops refuse, defer, hang, close in the middle or after the final dot; DNS answers, fails or says nothing;
the settings change; the program is killed and started again. In the end the world behaves, and then: every acknowledged
message has arrived or its sender was told; none was recorded as delivered twice, and none went twice to a next hop that had
confirmed it before, unless the program was killed in between; the queue is empty; memory did not grow.
A failure prints the seed: the same seed makes the same choices (the machine's own timing stays its own).
"""
import argparse, asyncio, collections, json, os, random, shutil, socket, struct, sys, tempfile, threading, time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "proof"))
sys.path.insert(0, str(HERE.parent / "peers"))
import proof
from peers import Failed

DOMAINS = ("now", "later", "never", "mx1", "mx2", "mx3")
# What the allocator keeps for the threads that read and write large messages levels off at about 350 MB.
MEMORY_MAX_MB = 600
SIZES = (200, 2_000, 2_000, 30_000, 400_000)


class Sink(proof.Sink):
    """A next hop that does, connection by connection, what chance says. `calm`: all goes well."""

    def __init__(self, chance):
        self.chance, self.calm, self.confirmed, self.lock = chance, False, collections.Counter(), threading.Lock()
        super().__init__(refuses=False)

    async def serve(self, reader, writer):
        with self.lock:
            mood = "good" if self.calm else self.chance.choices(
                ("good", "shut", "421", "hang", "defer", "refuse", "late", "cut", "dot", "slow", "noise"), (60, 4, 4, 1, 8, 3, 6, 4, 4, 4, 2))[0]
        say = lambda text: writer.write(text.encode() + b"\r\n")
        try:
            if mood == "shut":
                return
            if mood == "hang":
                await asyncio.sleep(3)
                return
            say("421 4.3.2 busy" if mood == "421" else "\x01\x02 what" if mood == "noise" else "220-sink.test\r\n220 ESMTP")
            report, recipients, name = False, 0, "?"
            while line := await reader.readline():
                if mood == "slow":
                    await asyncio.sleep(0.05)
                verb = line.upper().split()[:1]
                if verb == [b"EHLO"]:
                    say("250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 0")
                elif verb == [b"MAIL"]:
                    report, recipients = b"<>" in line, 0
                    say("250 2.1.0 ok")
                elif verb == [b"RCPT"] and mood == "defer":
                    say("450 4.2.0 come back later")
                elif verb == [b"RCPT"] and mood == "refuse" and not report:  # a refused report has nobody to be told
                    say("550 5.1.1 no such user")
                elif verb == [b"RCPT"]:
                    recipients += 1
                    say("250 2.1.5 ok")
                elif verb == [b"DATA"] and not recipients:
                    say("554 5.5.1 no valid recipients")
                elif verb == [b"DATA"]:
                    if mood == "cut":
                        return
                    say("354 go on")
                    content = await reader.readuntil(b"\r\n.\r\n")
                    found = proof.NAME.search(content)
                    name = found.group().decode() if found else "?"
                    if mood == "late":
                        say("451 4.3.0 not now")
                    else:
                        self.taken.append((name, report))
                        if mood == "dot":
                            return  # taken, and nobody was told: a copy may come
                        self.confirmed[name, report] += 1
                        say("250 2.0.0 kept")
                elif verb == [b"QUIT"]:
                    say("221 2.0.0 bye")
                    break
                else:
                    say("250 2.0.0 ok")
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


class Dns:
    """Answers MX and A for mxN.test; by chance SERVFAIL, nothing, or a truncated answer over UDP."""

    def __init__(self, address, sink, chance):
        self.sink, self.chance, self.calm = sink, chance, False
        self.udp, self.tcp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket()
        self.udp.bind((address, 5353))
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.tcp.bind((address, 5353))
        self.tcp.listen(50)
        threading.Thread(target=self.serve, daemon=True).start()
        threading.Thread(target=self.serve_tcp, daemon=True).start()

    def serve(self):
        while True:
            query, client = self.udp.recvfrom(4096)
            mood = "good" if self.calm else self.chance.choices(("good", "fail", "silent", "short"), (80, 8, 6, 6))[0]
            if mood != "silent" and (answer := self.answer(query, mood)):
                self.udp.sendto(answer, client)

    def serve_tcp(self):
        while True:
            client, _ = self.tcp.accept()
            with client:
                client.settimeout(2)
                try:
                    length = client.recv(2)
                    answer = self.answer(client.recv(struct.unpack("!H", length)[0]), "good")
                    client.sendall(struct.pack("!H", len(answer)) + answer)
                except (OSError, struct.error):
                    pass

    def answer(self, query, mood):
        end, labels = 12, []
        while query[end]:
            labels.append(query[end + 1:end + 1 + query[end]].decode("latin-1").lower())
            end += query[end] + 1
        kind = struct.unpack("!H", query[end + 1:end + 3])[0]
        question, records = query[12:end + 5], []
        name = ".".join(labels)
        known = name.startswith("mx") and name.endswith(".test") or name == "hop.test"
        if kind == 15 and name.startswith("mx"):
            hop = b"\x03hop\x04test\x00"
            records.append((15, struct.pack("!H", 10) + hop))
        elif kind == 1 and name == "hop.test":
            records.append((1, socket.inet_aton(self.sink.address)))
        flags = 0x8180 | (2 if mood == "fail" else 0 if known else 3) | (0x0200 if mood == "short" else 0)
        if mood != "good":
            records = []
        body = b"".join(b"\xc0\x0c" + struct.pack("!HHIH", type_, 1, 1, len(data)) + data for type_, data in records)
        return query[:2] + struct.pack("!HHHHH", flags, 1, len(records), 0, 0) + question + body


class Gateway(proof.Gateway):
    def __init__(self, binary, folder, sink, dns):
        super().__init__(binary, folder, sink)
        self.sink, self.dns = sink, dns
        self.settings()

    def settings(self, chance=None):
        """Another document that serves the same mail; without chance the plain one."""
        pick = chance.choice if chance else lambda choices: choices[0]
        hops = "".join(f'[[domain]]\nname = "{name}.test"\nnext_hops = ["{self.sink.address}:2525"]\n' for name in ("now", "later", "never", "sender"))
        hops += "".join(f'[[domain]]\nname = "{name}.test"\nnext_hops = "mx"\n' for name in ("mx1", "mx2", "mx3"))
        text = f"""
hostname = "gw{pick((0, 1, 2))}.proof.test"
mode = "{pick(('accept-and-deliver',) * 6 + ('pause-delivery',))}"
{hops}
[listener.inbound]
tls = "off"
connections = {pick((200, 300))}
connections_per_address = 200
messages_per_session = {pick((0, 5))}
[delivery]
port = 2525
allow_private_addresses = true
[retry]
first = "1m"
[dns]
servers = ["{self.dns}:5353"]
timeout = "1s"
[queue]
disk_reserve = "0 MB"
"""
        beside = self.folder / "settings.new"
        beside.write_text(text)
        beside.replace(self.folder / "settings.toml")

    def memory(self):
        text = Path(f"/proc/{self.child.pid}/smaps_rollup").read_text()
        return int(text.split("\nPss:")[1].split()[0]) / 1024


def clients(world, stop):
    """Six that send one message after another, each choice by chance."""
    def one(number):
        chance, count = random.Random(f"{world.seed} client {number}"), 0
        while not stop.is_set():
            world.load.send(f"proof-soak-{number}-{count}", chance.choice(DOMAINS), chance.choice(SIZES))
            count += 1
            time.sleep(chance.uniform(0, 0.05))
    threads = [threading.Thread(target=one, args=(number,), daemon=True) for number in range(6)]
    for thread in threads:
        thread.start()
    return threads


def soak(world, seconds):
    chance = random.Random(f"{world.seed} world")
    sink = Sink(random.Random(f"{world.seed} sink"))
    dns = Dns(address := proof.own_address(), sink, random.Random(f"{world.seed} dns"))
    gateway = world.gateway = Gateway(world.binary, world.folder("soak"), sink, address)
    gateway.start()
    world.load, stop, memory, kills, changes = proof.Load(gateway, "soak", clients=0), threading.Event(), [], 0, 0
    threads, end, shown = clients(world, stop), time.monotonic() + seconds, time.monotonic()
    while time.monotonic() < end:
        time.sleep(min(chance.uniform(0.3, 3.0), max(0, end - time.monotonic())))
        what = chance.choices(("kill", "stop", "settings", "retry"), (2, 1, 4, 4))[0]
        memory.append(gateway.memory())
        if what == "kill":
            gateway.kill()
            kills += 1
            gateway.start()
        elif what == "stop":
            if not gateway.stop():
                raise Failed("SIGTERM was not followed by a clean end")
            gateway.start()
        elif what == "settings":
            gateway.settings(chance)
            changes += 1
        else:
            gateway.ask("queue", "retry", "--all")
        if gateway.child.poll() is not None:
            raise Failed(f"the gateway ended by itself: {gateway.last_words()}")
        if time.monotonic() > shown + 30:
            shown = time.monotonic()
            print(f"  {end - shown:.0f} s to go, {len(world.load.acknowledged)} acknowledged, {memory[-1]:.0f} MB", file=sys.stderr, flush=True)
    stop.set()
    for thread in threads:
        thread.join(60)
    sink.calm = dns.calm = True
    gateway.settings()
    gateway.stop()
    gateway.start()
    gateway.drain()
    acknowledged = world.load.acknowledged
    told = {name for name, report in sink.taken if report}
    arrived = {name for name, report in sink.taken if not report}
    lost = [name for name, _ in acknowledged.values() if name not in arrived | told]
    if lost:
        raise Failed(f"{len(lost)} of {len(acknowledged)} acknowledged messages are lost: {lost[:5]}")
    twice, ids = [name for (name, report), times in sink.confirmed.items() if times > 1 and not report], {name: id_ for id_, (name, _) in acknowledged.items()}
    if twice and not kills:
        raise Failed(f"{len(twice)} messages went out again after they had been confirmed: {twice[:5]}")
    for name in twice:
        events = json.loads(gateway.ask("audit", "show", ids[name], "--json")) if name in ids else []
        if sum(event["event"] == "delivered" for event in events) > 1:
            raise Failed(f"{name} was recorded as delivered twice")
    bad = [(name, code) for name, code, _ in world.load.refused if code // 100 == 5]
    if bad:
        raise Failed(f"mail was refused for good: {bad[:5]}")
    if "panicked" in (gateway.folder / "output").read_text(errors="replace"):
        raise Failed(gateway.last_words())
    memory.append(gateway.memory())
    gateway.stop()
    if max(memory) > MEMORY_MAX_MB:
        raise Failed(f"memory grew to {max(memory):.0f} MB")
    quarter = max(1, len(memory) // 4)
    early, late = max(memory[:quarter]), max(memory[-quarter:])
    return (f"{seconds} s, {len(acknowledged)} acknowledged, none lost; {kills} kills, {changes} changes of settings; {len(told)} senders told; "
            f"{len(twice)} sent again after a kill; memory at most {early:.0f} MB in the first quarter, {late:.0f} MB in the last")


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("binary", nargs="?", default="target/debug/gatepost", type=Path)
    words.add_argument("--seconds", type=int, default=20)
    words.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    words.add_argument("--report", type=Path, help="write the figures between the marks of this page")
    said = words.parse_args()
    root = Path(tempfile.mkdtemp(prefix="gatepost-soak-"))
    world = proof.World(said.binary.resolve(), root, False, said.seed, False, None)
    world.gateway = None
    print(f"seed {said.seed}", flush=True)
    try:
        told = soak(world, said.seconds)
    except Failed as reason:
        print(f"FAIL soak (seed {said.seed}): {reason}\nleft in {root}\n0 passed, 1 failed")
        return 1
    finally:
        if world.gateway and world.gateway.child:
            world.gateway.kill()
    if said.report:
        proof.report(said.report, said.seed, {"soak": told}, "soak")
    shutil.rmtree(root, ignore_errors=True)
    print(f"ok soak: {told}\n1 passed, 0 failed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
