"""Those who use the gateway meanwhile: senders, clients that mean no good, an administrator, and somebody who reads the Control Center."""
import http.client, json, random, smtplib, socket, ssl, statistics, struct, threading, time, urllib.request

from peers import Failed
from world import ALIASES, DOMAINS, FAR, GATEWAY6, PORT, checksum

SIZES = {200: 30, 2_000: 40, 30_000: 20, 400_000: 7, 2_000_000: 2, 8_000_000: 0.7, 20_000_000: 0.3}
KINDS = {"user": 70, "grey": 10, "no": 6, "full": 6}
# A page that takes longer than this is a finding, on a machine that does all of this at once.
PAGE_MAX_S = 20


def unverified():
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class Clients:
    """Threads that go on until `stop`; what one of them finds wrong is raised by `check`."""

    def __init__(self, world, gateway, ledger, pause_s):
        self.world, self.gateway, self.ledger, self.pause_s = world, gateway, ledger, pause_s
        self.stopped, self.wrong, self.threads = threading.Event(), [], []
        self.pages, self.orders, self.vandalism, self.unsure = [], 0, 0, 0
        for number in range(6):
            self.go(self.sender, f"client {number}", number)
        for what in (self.vandal, self.administrator, self.reader):
            self.go(what, what.__name__)

    def go(self, what, seed, *more):
        def run():
            chance = random.Random(f"{self.world.seed} {seed}")
            while not self.stopped.is_set():
                try:
                    what(chance, *more)
                except Exception as error:  # whatever it is, it ends the soak
                    self.wrong.append(f"{seed}: {error!r}")
                    return
        self.threads.append(threading.Thread(target=run, daemon=True))
        self.threads[-1].start()

    def check(self):
        if self.wrong:
            raise Failed(self.wrong[0])

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join(120)
        self.check()

    # ---- senders ----

    def sender(self, chance, number):
        count = self.counts[number] = self.counts.get(number, 0) + 1
        name = f"proof-soak-{number}-{count}"
        door = chance.choices(("inbound", "inbound6", "outbound", "submission"), (70, 10 if self.gateway.six else 0, 18, 1))[0]
        many = chance.choices((1, chance.randint(2, 10), chance.randint(60, 150)), (86, 12, 2))[0]
        domains = DOMAINS + ((FAR,) if door in ("outbound", "submission") else ())
        kinds = chance.choices(list(KINDS), KINDS.values(), k=many)
        to = [f"{kind}-{number}-{at}@{chance.choice(domains)}.test" for at, kind in enumerate(kinds)]
        if chance.random() < 0.1:
            to.append(f"alias{chance.randrange(ALIASES)}@now.test")
        size = chance.choices(list(SIZES), SIZES.values())[0]
        line = b"%s .dots and so on %s\r\n" % (name.encode(), b"x" * chance.randint(0, 60))
        lines = (line + b".\r\n..two\r\n") * (size // (len(line) + 10) + 1)
        content = b"From: a@sender.test\r\nSubject: %s\r\n\r\n%s" % (name.encode(), lines)
        with self.ledger.lock:
            self.ledger.sums[name] = checksum(content)
        self.send(name, door, to, content, chance)
        self.stopped.wait(chance.uniform(0, self.pause_s))

    counts = {}

    def send(self, name, door, to, content, chance):
        address = GATEWAY6 if door == "inbound6" else self.gateway.address
        port = {"outbound": self.gateway.OUTBOUND, "submission": self.gateway.SUBMISSION}.get(door, PORT)
        bdat, encrypt = chance.random() < 0.3, chance.random() < 0.1
        kept, refusal = [], None
        try:
            with smtplib.SMTP(address, port, "client.test", timeout=60) as session:
                session.ehlo_or_helo_if_needed()
                if door == "submission" or encrypt:
                    session.starttls(context=unverified())
                    session.ehlo()
                if door == "submission":
                    session.login(self.gateway.USER, self.gateway.PASSWORD)
                code, reply = session.mail("a@sender.test", ["BODY=8BITMIME"])
                for recipient in to if code == 250 else ():
                    said, words = session.rcpt(recipient)
                    if said == 250:
                        kept.append(recipient)
                    else:
                        self.refuse(name, said, words)
                if not kept:
                    return self.refuse(name, code, reply)
                if bdat:
                    half = len(content) // 2
                    for piece, last in ((content[:half], ""), (content[half:], " LAST")):
                        session.putcmd(f"BDAT {len(piece)}{last}")
                        session.send(piece)
                        code, reply = session.getreply()
                        if code != 250:
                            break
                else:
                    code, reply = session.data(content)
        except smtplib.SMTPResponseException as said:
            return self.refuse(name, said.smtp_code, said.smtp_error)
        except (OSError, smtplib.SMTPException):
            self.unsure += 1
            return  # killed: no reply, no promise
        if code != 250:
            return self.refuse(name, code, reply)
        with self.ledger.lock:
            self.ledger.promised[name] = (reply.decode().split("accepted as ")[1].split()[0], kept)

    def refuse(self, name, code, reply):
        if code != 250:
            with self.ledger.lock:
                self.ledger.refused.append((name, code, reply))

    # ---- no good ----

    def vandal(self, chance):
        """Storms of connections, octets one by one, and clients that go away in the middle or before the final reply."""
        deed = chance.choice((self.storm, self.trickle, self.vanish, self.vanish))
        try:
            deed(chance)
        except OSError:
            pass
        self.vandalism += 1
        self.stopped.wait(chance.uniform(0, 4))

    def connect(self, chance):
        client = socket.socket()
        client.settimeout(5)
        client.bind((f"127.20.{chance.randint(1, 250)}.{chance.randint(1, 250)}", 0))
        client.connect((self.gateway.address, self.gateway.port))
        return client

    def storm(self, chance):
        clients = []
        try:
            for _ in range(chance.randint(50, 300)):
                clients.append(self.connect(chance))
            self.stopped.wait(chance.uniform(0, 1))
        finally:
            for client in clients:
                if chance.random() < 0.5:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.close()

    SESSION = b"EHLO c.test\r\nMAIL FROM:<a@sender.test>\r\nRCPT TO:<ghost@now.test>\r\nDATA\r\nSubject: nobody waits for this\r\n\r\nx\r\n.\r\n"

    def trickle(self, chance):
        with self.connect(chance) as client:
            for octet in self.SESSION[:chance.randint(1, 80)]:
                client.sendall(bytes([octet]))
                time.sleep(0.02)

    def vanish(self, chance):
        with self.connect(chance) as client:
            client.recv(500)
            for line in self.SESSION.split(b"\r\n")[:4]:
                client.sendall(line + b"\r\n")
                client.recv(500)
            client.sendall(b"Subject: x\r\n\r\n" + b"y" * 70 + b"\r\n" * chance.randint(1, 20_000))
            if chance.random() < 0.5:
                client.sendall(b"\r\n.\r\n")

    # ---- administration ----

    def administrator(self, chance):
        """Orders by the command's socket and by the API. None deletes: everything must still arrive."""
        which = chance.choice(({"domain": f"{chance.choice(DOMAINS)}.test"}, {"text": "busy"}, {"recipient": "user-3"}, {"sender": "<>"}))
        order = chance.choices(("hold", "release", "retry", "reroute", "back"), (1, 3, 3, 2, 1))[0]
        hop = chance.choice(self.gateway.hops).hop
        if chance.random() < 0.5:
            body = {"order": "reroute" if order == "back" else order, "which": {"ids": []} | which}
            body |= {"hold": {"why": "an audit"}, "reroute": {"hop": hop}, "back": {"hop": ""}}.get(order, {})
            answer = self.gateway.http("POST", f"/api/v1/queue/orders?dry_run={chance.choice(('true', 'false'))}", body)
            if answer and answer[0] // 100 != 2 and answer[0] != 503:
                raise Failed(f"order {body}: {answer}")
        elif order != "back":
            key, value = next(iter(which.items()))
            words = ["queue", order, f"--{'status' if key == 'text' else key}", value] + {"hold": ["--why", "an audit"], "reroute": ["--to", hop]}.get(order, [])
            with self.gateway.turning:
                self.gateway.ask(*words)
        self.orders += 1
        if chance.random() < 0.3:
            self.stopped.wait(2)
            self.gateway.http("POST", "/api/v1/queue/orders?dry_run=false", {"order": "release", "which": {"held": True}})
        self.stopped.wait(chance.uniform(1, 8))

    PATHS = ("/", "/queue", "/audit", "/audit?q=user-1", "/destinations", "/destinations/now.test", "/logs", "/configuration", "/domains", "/acts", "/certificates", "/identity", "/alerts",
             "/api/v1/overview?span=hour", "/api/v1/queue/messages?domain=now.test", "/api/v1/queue/causes", "/api/v1/queue/domains", "/api/v1/audit", "/api/v1/logs",
             "/api/v1/settings", "/api/v1/destinations", "/metrics", "/healthz")

    def reader(self, chance):
        path = chance.choice(self.PATHS)
        begun = time.monotonic()
        answer, took = self.gateway.http("GET", path, timeout=60), time.monotonic() - begun
        if answer and answer[0] >= 500 and not (path == "/healthz" and answer[0] == 503):
            raise Failed(f"{path} answered {answer[0]}: {answer[1][:300]}")
        if answer and answer[0] != 503 and answer[0] >= 400:
            raise Failed(f"{path} answered {answer[0]}: {answer[1][:300]}")
        if answer:
            self.pages.append((took, path))
            if took > PAGE_MAX_S:
                raise Failed(f"{path} took {took:.0f} s")
            if path.startswith("/api/v1/audit") and answer[0] == 200 and chance.random() < 0.5:
                self.message(json.loads(answer[1]), chance)
        if chance.random() < 0.1:
            self.stream()
        self.stopped.wait(chance.uniform(0, 2))

    def stream(self):
        """Live figures, as a browser keeps them open, and leaves them."""
        request = urllib.request.Request(f"http://{self.gateway.address}:8025/dashboard/live", headers={"Authorization": f"Bearer {self.gateway.token}"})
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                answer.read1(200)
        except (OSError, http.client.HTTPException):
            pass

    def message(self, found, chance):
        rows = found.get("rows") or found.get("messages") or []
        if rows:
            id_ = chance.choice(rows)["id"]
            self.gateway.http("GET", f"/audit/{id_}")
            self.gateway.http("GET", f"/api/v1/audit/{id_}")

    def seen(self):
        times = sorted(took for took, _ in self.pages) or [0]
        slowest = max(self.pages, default=(0, "-"))
        return f"{len(times)} pages read, half within {statistics.median(times) * 1000:.0f} ms, 99 of 100 within {times[len(times) * 99 // 100] * 1000:.0f} ms, the slowest ({slowest[1]}) {slowest[0]:.1f} s"
