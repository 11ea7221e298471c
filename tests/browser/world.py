"""What stands around the pages: the gateway, a small Internet of mail servers with DNS, and the browser."""
import json, os, re, signal, smtplib, socket, socketserver, sqlite3, struct, subprocess, threading, time, urllib.error, urllib.parse, urllib.request

from webdriver import Browser, Failed, wait

PASSWORD = "correct horse battery"
WIDTHS = (1280, 390)
CHECKS = []


def check(function):
    CHECKS.append((function.__name__.replace("_", "-"), function))
    return function


def must(condition, reason):
    if not condition:
        raise Failed(reason() if callable(reason) else reason)


_port = 15000 + os.getpid() % 4000
_ports = threading.Lock()


def free_port(address="127.0.0.1"):
    """Below the ephemeral range, so that no outgoing connection takes it meanwhile."""
    global _port
    with _ports:
        while True:
            _port += 1
            with socket.socket() as probe:
                try:
                    probe.bind((address, _port))
                    return _port
                except OSError:
                    continue


class Peer(socketserver.ThreadingTCPServer):
    """A mail server that takes all mail, but for what `refusal` says of a verb: {"RCPT": "451 4.7.1 Greylisted"}."""
    allow_reuse_address = daemon_threads = True

    def __init__(self, address, name, **refusal):
        self.taken, self.name, self.refusal = [], name, refusal
        super().__init__(address, Talk)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Talk(socketserver.StreamRequestHandler):
    def handle(self):
        peer = self.server
        say = lambda text: self.wfile.write(text.encode() + b"\r\n")
        say(f"220 {peer.name} ESMTP")
        while line := self.rfile.readline():
            verb = line.split()[0].upper().decode("latin1") if line.split() else ""
            if verb in peer.refusal:
                say(peer.refusal[verb])
            elif verb == "EHLO":
                say(f"250-{peer.name}\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES")
            elif verb == "DATA":
                say("354 go on")
                content = b""
                while (line := self.rfile.readline()) not in (b".\r\n", b""):
                    content += line
                peer.taken.append(content)
                say("250 2.0.0 kept")
            elif verb == "QUIT":
                say("221 2.0.0 bye")
                return
            else:
                say("250 2.0.0 ok")


class Dns:
    """Answers what `records` has, {("name", "A"): ["192.0.2.1"]}; that nothing else exists."""
    KINDS = {"A": 1, "PTR": 12, "MX": 15, "TXT": 16}

    def __init__(self, records):
        self.records, self.port = records, free_port()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", self.port))
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            query, client = self.socket.recvfrom(4096)
            self.socket.sendto(self.answer(query), client)

    def answer(self, query):
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode("latin1").lower())
            at += 1 + query[at]
        name, question = ".".join(labels), query[12:at + 5]
        asked = struct.unpack(">H", query[at + 1:at + 3])[0]
        found = [self.data(kind, value) for (known, kind), values in self.records.items()
                 if known == name and self.KINDS[kind] == asked for value in values]
        exists = any(known == name for known, _ in self.records)
        body = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", asked, 1, 60, len(data)) + data for data in found)
        return query[:2] + struct.pack(">HHHHH", 0x8580 | (0 if exists else 3), 1, len(found), 0, 0) + question + body

    def data(self, kind, value):
        labels = lambda name: b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
        return {"A": socket.inet_aton, "PTR": labels, "MX": lambda host: struct.pack(">H", 10) + labels(host),
                "TXT": lambda text: bytes([len(text)]) + text.encode()}[kind](value)


OURS = "127.0.0.2"  # where our mail comes from
# Domain: the address of its server, and what that says. None: no such server.
INTERNET = {
    "friend.example": ("127.0.0.31", {}),
    "grey.example": ("127.0.0.32", {"RCPT": "451 4.7.1 Greylisted, come back in 300 seconds"}),
    "picky.example": ("127.0.0.33", {"RCPT": "550 5.1.1 No such user here"}),
    "strict.example": ("127.0.0.34", {"MAIL": "554 5.7.1 Service unavailable; Client host [127.0.0.2] blocked using zen.spamhaus.org"}),
    "full.example": ("127.0.0.35", {"RCPT": "452 4.2.2 Mailbox full"}),
    "down.example": ("127.0.0.36", None),
    "typo.example": (None, None),
}


class World:
    """The gateway, what stands around it, and the browser."""

    def __init__(self, binary, folder, pictures):
        self.binary, self.folder, self.pictures = binary, folder, pictures
        self.inbound, self.outbound, self.control, self.behind = free_port(), free_port(), free_port(), free_port()
        self.config = folder / "gatepost.toml"
        self.config.write_text(f"""
data = "data"
[listen]
inbound = ["127.0.0.1:{self.inbound}"]
outbound = ["127.0.0.1:{self.outbound}"]
[control]
listen = "127.0.0.1:{self.control}"
""")
        self.base = f"http://127.0.0.1:{self.control}"
        self.gateway, self.browser, self.sink, self.ann = None, None, None, None
        self.shots = {}

    def settings(self):
        return f"""hostname = "gw.corp.example"
postmaster = "postmaster@corp.example"

[[domain]]
name = "corp.example"
next_hops = ["127.0.0.1:{self.behind}"]

[[alias]]
from = "sales@corp.example"
to = ["ann@corp.example", "olga@corp.example"]

[listener.outbound]
accept_from = ["127.0.0.0/8"]

[delivery]
port = {self.smtp}
allow_private_addresses = ["127.0.0.0/8"] # they stand for the Internet
address_family = "ipv4"
source = [{{ address = "{OURS}" }}]

[dns]
servers = ["127.0.0.1:{self.dns.port}"]
timeout = "1s"

[retry]
first = "1h"
"""

    def start(self):
        self.internet()
        file = self.folder / "settings.toml"
        file.write_text(self.settings())
        said = self.run("settings", "apply", str(file))
        must(said.returncode == 0, lambda: f"settings apply: {said.stdout}{said.stderr}")
        self.output = open(self.folder / "output", "ab")
        self.gateway = subprocess.Popen([self.binary, "run", "--config", str(self.config)], cwd=self.folder, stdin=subprocess.DEVNULL,
                                        stdout=self.output, stderr=self.output, start_new_session=True)
        wait(lambda: self.http("/healthz")[0] == 200, lambda: f"the gateway answers ({self.words()})")
        self.browser = Browser(free_port())
        self.browser.look(WIDTHS[0])

    def internet(self):
        """DNS that knows this gateway by two names, and the domains of INTERNET with their servers."""
        records = {("gw.corp.example", "A"): [OURS], ("post.corp.example", "A"): [OURS],
                   ("2.0.0.127.in-addr.arpa", "PTR"): ["gw.corp.example", "post.corp.example"],
                   ("corp.example", "MX"): ["gw.corp.example"], ("corp.example", "TXT"): [f"v=spf1 ip4:{OURS} -all"]}
        for domain, (address, _) in INTERNET.items():
            records[domain, "MX"] = [f"mx.{domain}"]
            if address:
                records[f"mx.{domain}", "A"] = [address]
        self.dns, self.smtp = Dns(records), free_port("0.0.0.0")
        self.peers = {domain: Peer((address, self.smtp), f"mx.{domain}", **refusal)
                      for domain, (address, refusal) in INTERNET.items() if refusal is not None}

    def words(self):
        return (self.folder / "output").read_text(errors="replace")[-600:]

    def run(self, *arguments, text=None):
        return subprocess.run([self.binary, "--config", str(self.config), *arguments], input=text, capture_output=True, text=True, timeout=60)

    def http(self, path, cookie=None, data=None):
        """(code, text), as a program asks; no redirect is followed."""
        class Stay(urllib.request.HTTPRedirectHandler):
            def redirect_request(self, *_):
                return None
        headers = {"Cookie": f"gatepost={cookie}", "Sec-Fetch-Site": "same-origin"} if cookie else {}
        request = urllib.request.Request(self.base + path, data.encode() if data is not None else None, headers)
        try:
            with urllib.request.build_opener(Stay).open(request, timeout=30) as answer:
                return answer.status, answer.read().decode(errors="replace")
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(errors="replace")
        except OSError as error:
            return 0, str(error)

    def cookie(self):
        return next(one["value"] for one in self.browser.do("GET", "/cookie") if one["name"] == "gatepost")

    def path(self):
        """Where the browser is, without the host."""
        return self.browser.url().removeprefix(self.base)

    def go(self, path):
        self.browser.go(self.base + path)

    def mail(self, to, subject, message_id=""):
        """From the Internet to a local domain."""
        head = f"Message-ID: <{message_id}>\r\n" if message_id else ""
        with smtplib.SMTP("127.0.0.1", self.inbound, "client.example", timeout=30) as client:
            client.sendmail("sender@out.example", [to], f"From: sender@out.example\r\nTo: {to}\r\nSubject: {subject}\r\n{head}\r\nHello.\r\n")

    def mail_out(self, to, subject, sender="ann@corp.example"):
        """From the organisation to the Internet."""
        with smtplib.SMTP("127.0.0.1", self.outbound, "desk.corp.example", timeout=30) as client:
            client.sendmail(sender, [to], f"From: {sender}\r\nTo: {to}\r\nSubject: {subject}\r\n\r\nHello.\r\n".encode())

    def queue(self):
        return json.loads(self.run("queue", "list", "--json").stdout)

    def queued(self, part):
        """The deliveries in the queue that have these words in them."""
        return [row for row in self.queue() if part in json.dumps(row)]

    def banner(self, port):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
            return line.makefile().readline()

    def version(self):
        """The settings version that was made last."""
        return max(one["version"] for one in json.loads(self.run("settings", "history", "--json").stdout))

    def expire(self, name):
        """Nobody has seen this administrator's sessions for three hours."""
        db = sqlite3.connect(self.folder / "data/accounts.db", timeout=20)
        with db:
            db.execute("UPDATE session SET seen_ms = seen_ms - ? WHERE name = ?", [3 * 3_600_000, name])
        db.close()

    def sign_in(self, name, password=PASSWORD):
        self.browser.do("DELETE", "/cookie")
        self.go("/sign-in")
        self.browser.type("#name", name)
        self.browser.type("#password", password)
        self.browser.button("Sign in")

    def back(self):
        """The browser is ann's again, and as wide as ever."""
        self.browser.look(WIDTHS[0])
        self.enter(self.browser)
        self.go("/account")

    def enter(self, browser):
        """This browser is ann's."""
        browser.go(self.base + "/sign-in")
        browser.do("DELETE", "/cookie")
        browser.do("POST", "/cookie", {"cookie": {"name": "gatepost", "value": self.ann or "nobody", "path": "/", "httpOnly": True}})

    def menu(self):
        """All paths in the menu of whoever is signed in."""
        self.go("/account")
        return self.browser.js("return [...document.querySelectorAll('nav.menu a')].map(a => a.getAttribute('href'))")

    def pages(self):
        """Every page to look at: the menu's, and pages of one message, domain or setting that hang below them: the first link of
        each kind on each page."""
        found, kinds, menu = [], set(), self.menu()
        for path in menu:
            self.go(path)
            for link in self.browser.js("return [...document.querySelectorAll('main a[href^=\"/\"]')].map(a => a.getAttribute('href'))"):
                kind = re.sub(r"[0-9A-Z]{8,}|\d+|=[^&]*|[a-z]+\.example", "*", link)
                if kind not in kinds and not link.startswith(("/api/", "/asset/")) and not any(word in link for word in ("download", "export")) and len(kinds) < 40:
                    kinds.add(kind)
                    found.append(link)
        below = ["/account", "/account/factor"]
        return list(dict.fromkeys([*menu, *found, *below]))

    def picture(self, name, height=4000):
        """What the browser shows, for people and for the book."""
        self.browser.picture(self.shot(name), height)

    def shot(self, name):
        self.pictures.mkdir(parents=True, exist_ok=True)
        self.shots[name] = self.pictures / f"{name}.png"
        return self.shots[name]

    def stop(self):
        if self.browser:
            self.browser.stop()
        if self.sink:
            self.sink.shutdown()
        if self.gateway:
            self.gateway.send_signal(signal.SIGTERM)
            try:
                self.gateway.wait(40)
            except subprocess.TimeoutExpired:
                self.gateway.kill()
                self.gateway.wait(10)


def name_of(path):
    """A file's name for the picture of a page."""
    return re.sub(r"[^a-z0-9]+", "-", path.lower()).strip("-")[:60] or "dashboard"
