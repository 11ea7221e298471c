"""The world around the gateway: next hops and a name server that go wrong by chance, what was promised, and the gateway's settings."""
import asyncio, collections, http.client, json, re, socket, ssl, subprocess, threading, time, urllib.error, urllib.request, zlib

import peers, proof, stubs
from peers import Failed

PORT = 2525
# In a network namespace of its own the soak has these addresses too; no interface has them, so none is the gateway's.
NETWORK6, GATEWAY6, HOP6 = "fd00:60::/64", "fd00:60::1", "fd00:60::2"
DOMAINS = ("now", "later", "never", "mx1", "mx2", "mx3")
FAR = "far"  # not local: only for clients that may relay
ALIASES = 4
# A connection's fate, and how often.
MOODS = {"good": 52, "tls": 10, "shut": 4, "421": 4, "hang": 1, "defer": 6, "refuse": 3, "late": 4, "cut": 3, "dot": 3, "vanish": 2,
         "slow": 3, "trickle": 1, "noise": 1, "badtls": 1, "enough": 2, "reset": 1}
QUIET = {"good": 80, "tls": 20}
# At most so many connections to a hop that counts them.
LIMIT = 3
GREY_S = 3


def checksum(content):
    """Of the lines behind the header, which nobody on the way may change."""
    return zlib.crc32(content.split(b"\r\n\r\n", 1)[-1])


class Ledger:
    """Who was promised what, and what came of it. Recipients are lower-case addresses."""

    def __init__(self):
        self.lock = threading.Lock()
        self.promised = {}                               # name: (Audit ID, recipients that got a 250)
        self.sums = {}                                   # name: checksum, of all that was ever sent
        self.refused = []                                # (name, code, reply)
        self.arrived = collections.defaultdict(list)     # (name, recipient): when a hop said 250 for it
        self.unsaid = set()                              # (name, recipient) taken by a hop that told nobody
        self.told = set()                                # (name, recipient) given up with a report to the sender
        self.delayed = set()                             # the same with a notice of delay
        self.damaged = []
        self.targets = collections.defaultdict(list)     # alias: what it led to, by version of the settings
        self.reports = 0

    def taken(self, content, session, confirmed):
        """A hop has a whole message."""
        found = proof.NAME.search(content)
        name = found.group().decode() if found else "?"
        if session.report:
            return self.report(name, content)
        plain = b"\r\n".join(line[1:] if line[:1] == b"." else line for line in content[:-3].split(b"\r\n"))
        to = [re.search(rb"<([^>]*)>", line)[1].decode().lower() for line in session.recipients]
        with self.lock:
            if self.sums.get(name) not in (None, checksum(plain)):
                self.damaged.append(name)
            for recipient in to:
                self.arrived[name, recipient].append(time.time()) if confirmed else self.unsaid.add((name, recipient))

    def report(self, name, content):
        """Field groups of RFC 3464: who, and what became of it."""
        with self.lock:
            self.reports += 1
            for group in content.decode("latin-1").split("\r\n\r\n"):
                who = re.findall(r"(?im)^(?:Final|Original)-Recipient: *rfc822; *(\S+)", group)
                deed = re.search(r"(?im)^Action: *(\w+)", group)
                for recipient in who if deed else ():
                    place = {"failed": self.told, "delayed": self.delayed}.get(deed[1].lower())
                    place is not None and place.add((name, recipient.lower()))

    def lacking(self):
        """(name, recipient) that were promised and neither arrived nor were reported."""
        settled = self.told | set(self.arrived)
        def kept(name, recipient):
            return (name, recipient) in settled or any(all((name, target) in settled for target in targets) for targets in self.targets.get(recipient, ()))
        return [(name, recipient) for name, (_, recipients) in self.promised.items() for recipient in recipients if not kept(name, recipient)]

    def twice(self):
        return {key: sorted(times) for key, times in self.arrived.items() if len(times) > 1 and key[0] != "?"}


class Hop(stubs.Sink):
    """A next hop that does, connection by connection, what chance says. `calm`: all goes well."""

    def __init__(self, address, ledger, chance, certificate):
        self.ledger, self.chance, self.calm, self.lock = ledger, chance, False, threading.Lock()
        self.open, self.limited, self.seen, self.moods = 0, False, {}, collections.Counter()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(f"{certificate}.pem", f"{certificate}.key")
        super().__init__(address, PORT)

    @property
    def hop(self):
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    async def serve(self, reader, writer):
        self.open += 1
        try:
            await super().serve(reader, writer)
        finally:
            self.open -= 1

    async def greet(self, session):
        with self.lock:
            weights = QUIET if self.calm else MOODS
            session.mood = mood = self.chance.choices(list(weights), weights.values())[0]
            if self.limited and not self.calm and self.open > LIMIT:
                session.mood = mood = "full"
            self.moods[mood] += 1
        if mood == "hang":
            await asyncio.sleep(3)
        if mood == "reset":
            session.writer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        if mood in ("shut", "hang", "reset"):
            return None
        if mood == "trickle":
            for octet in b"220-sink.test takes its time\r\n":
                session.writer.write(bytes([octet]))
                await session.writer.drain()
                await asyncio.sleep(0.02)
        return {"421": "421 4.3.2 busy", "full": "421 4.7.0 too many connections from your address", "noise": "\x01\x02 what"}.get(mood, "220-sink.test\r\n220 ESMTP")

    async def hear(self, session, verb):
        if session.mood in ("slow", "trickle"):
            await asyncio.sleep(0.05)
        if verb == [b"STARTTLS"] and session.mood == "badtls":
            session.say("220 2.0.0 go on\r\nthis is no TLS")
            await session.writer.drain()
            return False
        return True

    def tls(self, session):
        return self.context if session.mood in ("tls", "badtls") else None

    async def mail(self, session):
        if session.mood == "enough" and session.messages >= 2:
            return "421 4.7.0 enough for one connection"
        return "250 2.1.0 ok"

    async def rcpt(self, session, line):
        if session.mood == "defer":
            return "450 4.2.0 come back later"
        if not session.report and not self.calm:  # a refused report has nobody to be told
            if session.mood == "refuse" or b"<no-" in line:
                return "550 5.1.1 no such user"
            if b"<grey-" in line and time.monotonic() < self.seen.setdefault(line, time.monotonic()) + GREY_S:
                return "450 4.7.1 Greylisted, come back in some seconds"
            if b"<full-" in line and self.chance.random() < 0.7:
                return "452 4.2.2 mailbox full"
        return "250 2.1.5 ok"

    async def data(self, session):
        return None if session.mood == "cut" else "354 go on"

    async def content(self, session, content):
        if session.mood == "late":
            return "451 4.3.0 not now"
        if session.mood == "vanish":
            return None  # nobody has it
        self.ledger.taken(content, session, confirmed=session.mood != "dot")
        return None if session.mood == "dot" else "250 2.0.0 kept"  # dot: taken, and nobody was told


class Dns(stubs.Dns):
    """MX of mxN.test and far.test, as `turn` last set them; by chance SERVFAIL, nothing, no such name or a truncated answer."""

    def __init__(self, address, hops, chance):
        self.hops, self.chance, self.calm = hops, chance, False
        super().__init__(address, 5353, {}, ttl_s=3)
        self.turn()

    def mood(self, name):
        return "good" if self.calm else self.chance.choices(("good", "fail", "silent", "short", "gone", "empty"), (84, 6, 4, 4, 1, 1))[0]

    def turn(self):
        """Other exchangers, in another order; sometimes with one first that is not there."""
        records, hosts = {}, {"dead.test": "127.9.9.9"} | {f"hop{at}.test": hop.address for at, hop in enumerate(self.hops)}
        for host, address in hosts.items():
            family, kind = (socket.AF_INET6, stubs.AAAA) if ":" in address else (socket.AF_INET, stubs.A)
            records[host, kind] = [socket.inet_pton(family, address)]
        for domain in ("mx1", "mx2", "mx3", FAR):
            dead = ["dead.test"] if not self.calm and self.chance.random() < 0.2 else []
            alive = [host for host in hosts if host != "dead.test"]
            chosen = dead + self.chance.sample(alive, self.chance.randint(1, len(alive)))
            records[f"{domain}.test", stubs.MX] = [stubs.mx(10 * at, host) for at, host in enumerate(chosen)]
        self.records = records


class Gateway(proof.Gateway):
    """With inbound (also over IPv6), outbound and submission listeners, a user and a token."""
    USER, PASSWORD, SUBMISSION, OUTBOUND = "alice", "pa55word", 2587, 2526

    def __init__(self, binary, folder, hops, dns, ledger):
        super().__init__(binary, folder, hops[0])
        self.hops, self.dns, self.ledger, self.started, self.ends = hops, dns, ledger, [], []
        self.turning = threading.Lock()  # a command while no gateway runs works on the folder itself, and a start would find it taken
        self.six = any(":" in hop.address for hop in hops)
        six = f', "[{GATEWAY6}]:{PORT}"' if self.six else ""
        (self.folder / "gatepost.toml").write_text(f"""
data = "{self.data}"
settings_file = "{self.folder}/settings.toml"
[listen]
inbound = ["{self.address}:{self.port}"{six}]
outbound = ["{self.address}:{self.OUTBOUND}"]
submission = ["{self.address}:{self.SUBMISSION}"]
[control]
listen = "{self.address}:8025"
""")
        said = subprocess.run([binary, "password"], input=self.PASSWORD + "\n", capture_output=True, text=True, timeout=60)
        self.hash = said.stdout.strip()
        self.settings()
        self.token = self.ask("admin", "token", "soak", "--role", "full").strip()

    def settings(self, chance=None):
        """Another document that serves the same mail; without chance the plain one."""
        pick = chance.choice if chance else lambda choices: choices[0]
        seldom = lambda usual, *others, part=0.15: usual if not chance or chance.random() >= part else chance.choice(others)
        shut = lambda usual, *others: seldom(usual, *others, part=0.05)  # no mail comes in or goes out for a while
        ways = [[hop] for hop in self.hops] + [self.hops]
        hops = "".join(f'[[domain]]\nname = "{name}.test"\nnext_hops = {json.dumps([hop.hop for hop in pick(ways)])}\n' for name in ("now", "later", "never"))
        hops += "".join(f'[[domain]]\nname = "{name}.test"\nnext_hops = "mx"\n' for name in ("mx1", "mx2", "mx3"))
        hops += "".join(f'[[domain]]\nname = "{name}.test"\nnext_hops = ["{self.hops[0].hop}"]\n' for name in ("sender", "masked"))
        aliases = ""
        for number in range(ALIASES):
            alias, count = f"alias{number}@now.test", pick((1, 2, 3))
            targets = [f"via{number}-{at}@{pick(DOMAINS)}.test" for at in range(count)]
            with self.ledger.lock:
                self.ledger.targets[alias].append(targets)
            aliases += f'[[alias]]\nfrom = "{alias}"\nto = {json.dumps(targets)}\n'
        masks = pick(("", '[[masquerade]]\nfrom = "@sender.test"\nto = "@masked.test"\n'))
        text = f"""
hostname = "gw{pick((0, 1, 2))}.proof.test"
postmaster = "postmaster@sender.test"
mode = "{shut("accept-and-deliver", "pause-delivery", "drain")}"
{hops}{aliases}{masks}
[listener.inbound]
connections = {pick((200, 300))}
connections_per_address = {pick((200, 100))}
messages_per_session = {pick((0, 5))}
message_size = "25MB"
greylisting = "{seldom("0s", "1s", "2s")}"
spf = "{pick(("mark", "off"))}"
[listener.outbound]
message_size = "25MB"
connections_per_address = 200
[listener.submission]
message_size = "25MB"
[[user]]
name = "{self.USER}"
password = "{self.hash}"
[delivery]
port = {PORT}
allow_private_addresses = true
connections = {pick((100, 5, 30))}
messages_per_connection = {pick((100, 1, 7))}
recipients_per_message = {pick((100, 10))}
tls = "{seldom("offer", "off", "require")}"
address_family = "{pick(("any", "ipv4-first", "ipv6-first"))}"
[retry]
first = "{pick(("10s", "5s", "20s"))}"
longest = "1m"
expire = "{seldom("5d", "2m")}"
delay_notices = {json.dumps(pick(([], ["30s"])))}
[dns]
servers = ["{self.dns}:5353"]
timeout = "1s"
[queue]
disk_reserve = "{shut("0 MB", "1024TB")}"
limit = {shut(150000, 20)}
paused = {json.dumps(seldom([], ["now.test"], ["mx1.test"]))}
"""
        self.put(text)

    def put(self, text):
        beside = self.folder / "settings.new"
        beside.write_text(text)
        beside.replace(self.folder / "settings.toml")

    def start(self):
        text = (self.folder / "settings.toml").read_text()
        self.put(text.replace('mode = "drain"', 'mode = "accept-and-deliver"'))  # or it would not greet
        begun = time.monotonic()
        super().start()
        self.started.append(time.monotonic() - begun)

    def kill(self):
        super().kill()
        self.ends.append(time.time())

    def http(self, method, path, body=None, timeout=30):
        """Status and text; None if nothing answered."""
        request = urllib.request.Request(f"http://{self.address}:8025{path}", json.dumps(body).encode() if body else None,
                                         {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except (OSError, ValueError, http.client.HTTPException):
            return None

    def drain(self, seconds=600):
        """Everything that waits or is held is tried, until nothing is left."""
        self.ask("queue", "release", "--held")
        end = time.monotonic() + seconds
        while (queued := json.loads(self.ask("status", "--json"))["queued"]) > 0:
            if time.monotonic() > end:
                raise Failed(f"{queued} deliveries still wait after {seconds} s: {self.ask('queue', 'list')[:1500]}")
            self.ask("queue", "retry", "--all")
            time.sleep(1)
