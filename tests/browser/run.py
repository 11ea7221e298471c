#!/usr/bin/env python3
"""The Control Center in a real browser: the real program, real pages, chromium.

  run.py [GATEPOST] [--only NAME] [--list] [--keep] [--images]

GATEPOST is the program to test (default: target/debug/gatepost). Needs tools/setup.sh. Every check prints one line, `ok NAME` or
`FAIL NAME reason`; the last line counts them. The checks build on each other in the order of this file; --only leaves out what
comes after. Screenshots of every page lie in target/browser afterwards; --images writes those of the book. --keep leaves the
gateway's folder.
"""
import argparse, base64, hashlib, hmac, json, os, re, shutil, signal, smtplib, socket, socketserver, struct, subprocess, sys, tempfile
import threading, time, traceback, urllib.error, urllib.parse, urllib.request
from pathlib import Path

from webdriver import Browser, Failed, wait

ROOT = Path(__file__).resolve().parents[2]
AXE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "gatepost-tests/node_modules/axe-core/axe.min.js"
LONGEST_S = 300  # the whole run
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


def free_port():
    """Below the ephemeral range, so that no outgoing connection takes it meanwhile."""
    global _port
    while True:
        _port += 1
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", _port))
                return _port
            except OSError:
                continue


class Sink(socketserver.ThreadingTCPServer):
    """A server behind the gateway that takes all mail."""
    allow_reuse_address = daemon_threads = True

    def __init__(self, port):
        self.taken = []
        super().__init__(("127.0.0.1", port), Talk)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Talk(socketserver.StreamRequestHandler):
    def handle(self):
        say = lambda text: self.wfile.write(text.encode() + b"\r\n")
        say("220 sink.corp.test ESMTP")
        while line := self.rfile.readline():
            verb = line.split()[0].upper() if line.split() else b""
            if verb == b"DATA":
                say("354 go on")
                content = b""
                while (line := self.rfile.readline()) not in (b".\r\n", b""):
                    content += line
                self.server.taken.append(content)
                say("250 2.0.0 kept")
            elif verb == b"QUIT":
                say("221 2.0.0 bye")
                return
            else:
                say("250 2.0.0 ok")


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
        self.gateway, self.browser, self.sink, self.secret = None, None, None, None
        self.screenshots = 0

    def settings(self, more=""):
        return f"""hostname = "gw.corp.test"
postmaster = "postmaster@corp.test"

[[domain]]
name = "corp.test"
next_hops = ["127.0.0.1:{self.behind}"]

[dns]
servers = ["127.0.0.1:9"]
timeout = "1s"

[retry]
first = "1h"
{more}"""

    def start(self):
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

    def go(self, path):
        self.browser.go(self.base + path)

    def mail(self, to, subject):
        with smtplib.SMTP("127.0.0.1", self.inbound, "client.test", timeout=30) as client:
            client.sendmail("sender@out.test", [to], f"From: sender@out.test\r\nTo: {to}\r\nSubject: {subject}\r\n\r\nHello.\r\n")

    def sign_in(self, name, password=PASSWORD):
        self.browser.do("DELETE", "/cookie")
        self.go("/sign-in")
        self.browser.type("#name", name)
        self.browser.type("#password", password)
        self.browser.button("Sign in")

    def menu(self):
        """All paths in the menu of whoever is signed in."""
        self.go("/account")
        return self.browser.js("return [...document.querySelectorAll('nav.menu a')].map(a => a.getAttribute('href'))")

    def pages(self):
        """Every page to look at: the menu's, and pages that hang below them."""
        below = [*self.below(), "/account", "/account/factor"]
        return [*self.menu(), *below]

    def below(self):
        """Pages of one message, domain or setting: the first link of each kind on each page of the menu."""
        found, kinds = [], set()
        for path in self.menu():
            self.go(path)
            for link in self.browser.js("return [...document.querySelectorAll('main a[href^=\"/\"]')].map(a => a.getAttribute('href'))"):
                kind = re.sub(r"[0-9A-Z]{8,}|\d+|=[^&]*", "*", link)
                if kind not in kinds and not link.startswith(("/api/", "/asset/")) and not any(word in link for word in ("download", "export")) and len(kinds) < 40:
                    kinds.add(kind)
                    found.append(link)
        return found

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


def code_of(secret):
    """RFC 6238: the six digits of this moment."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    tag = hmac.new(key, struct.pack(">Q", int(time.time()) // 30), hashlib.sha1).digest()
    at = tag[-1] & 15
    return f"{(struct.unpack('>I', tag[at:at + 4])[0] & 0x7fffffff) % 1000000:06}"


@check
def strangers_are_led_to_the_first_start(world):
    world.go("/")
    must("gatepost admin first-start" in world.browser.text(), world.browser.text)
    said = world.run("admin", "first-start")
    world.link = said.stdout.strip()
    must(world.link.startswith(world.base + "/first-start?key="), said.stdout + said.stderr)
    must(world.link in world.words(), "the link is printed at the start")


@check
def the_first_administrator_is_made_in_the_browser(world):
    browser = world.browser
    browser.go(world.link)
    world.picture("first-start")
    browser.type("#name", "ann")
    browser.type("#password", "short")
    browser.type("#again", "short")
    browser.button("Go on")
    must("12 characters" in browser.text(), browser.text)
    must(browser.js("return document.querySelector('#name').value") == "ann", "the name stays")
    browser.type("#password", PASSWORD)
    browser.type("#again", PASSWORD)
    browser.button("Go on")
    must("first-start" not in browser.url() and browser.has("nav.menu, form"), browser.url)
    browser.go(world.link)
    must("made already" in browser.text(), browser.text)


@check
def the_second_step_is_asked_for_once_it_is_on(world):
    browser = world.browser
    world.go("/account/factor")
    secret = browser.js("return document.querySelector('.secret').textContent")
    must(browser.has("svg.qr path"), "the QR code is drawn")
    browser.type("#code", "000000")
    browser.button("Turn on")
    must("not the code of this moment" in browser.text(), browser.text)
    must(browser.js("return document.querySelector('.secret').textContent") == secret, "the secret stays after a wrong code")
    browser.type("#code", code_of(secret))
    browser.button("Turn on")
    codes = browser.js("return [...document.querySelectorAll('.codes code')].map(one => one.textContent)")
    must(len(codes) == 10, browser.text)
    world.sign_in("ann")
    must(browser.has("#code") and "authenticator" in browser.text(), browser.text)
    browser.type("#code", "123456")
    browser.button("Go on")
    must("did not fit" in browser.text(), browser.text)
    world.sign_in("ann")
    browser.type("#code", codes[0])
    browser.button("Go on")
    must(browser.has("nav.menu"), browser.text)
    world.sign_in("ann")
    browser.type("#code", codes[0])
    browser.button("Go on")
    must("did not fit" in browser.text(), "a recovery code works once")
    world.sign_in("ann")
    browser.type("#code", codes[1])
    browser.button("Go on")
    must(browser.has("nav.menu"), browser.text)


@check
def the_setup_looks_before_it_saves_and_keeps_what_was_typed(world):
    browser = world.browser
    world.ann = world.cookie()
    world.go("/setup")
    browser.type("#hostname", "mail..corp.test")
    browser.button("Save and go on")
    must(browser.has("#hostname-error"), browser.text)
    must(browser.js("return document.querySelector('#hostname').value") == "mail..corp.test", "what was typed stays")
    browser.type("#hostname", "nowhere.corp.test")
    browser.button("Look at it from outside")
    must("Seen from outside" in browser.text(), browser.text)
    world.picture("setup-name")
    browser.type("#hostname", "gw.corp.test")
    browser.button("Save and go on")
    must(browser.url().endswith("/setup/domain"), browser.text)
    browser.type("#name", "loop.test")
    browser.type("#hops", f"127.0.0.1:{world.inbound}")
    browser.button("Add this domain")
    must(browser.has("#name-error") and "this gateway" in browser.text(), f"a loop is refused: {browser.text()}")
    must(browser.js("return document.querySelector('#hops').value") == f"127.0.0.1:{world.inbound}", "what was typed stays")
    browser.type("#name", "second.test")
    browser.type("#hops", f"127.0.0.1:{world.behind}")
    browser.button("Look at the way")
    must(f"127.0.0.1" in browser.text(), browser.text)
    browser.button("Add this domain")
    must("second.test" in browser.text(), browser.text)
    world.picture("setup-domain")
    world.go("/setup/test")
    browser.type("#to", "someone@second.test")
    browser.button("Send")
    must("on its way" in browser.text(), browser.text)


@check
def mail_that_is_stuck_is_found_by_its_cause_and_sent_on_its_way(world):
    browser = world.browser
    for number in range(3):
        world.mail(f"user{number}@corp.test", f"Invoice {number}")
    queue = lambda: json.loads(world.run("queue", "list", "--json").stdout)
    count = lambda: len(queue())
    # Those behind the first wait for its destination to be tried again.
    wait(lambda: count() == 4 and any(row["finding"] for row in queue()), lambda: f"the mail is tried and waits: {queue()}")
    world.go("/queue?by=cause")
    text = browser.text()
    must("refused" in text or "corp.test" in text, text)
    world.picture("queue-by-cause")
    world.go("/audit?q=Invoice+1")
    must("user1@corp.test" in browser.text() and "user2@corp.test" not in browser.text(), browser.text)
    browser.click("main a[href^='/message/']")
    must("user1@corp.test" in browser.text(), browser.text)
    world.picture("message")
    world.sink = Sink(world.behind)
    world.go("/queue?by=cause")
    world.picture("queue-by-cause")
    world.go("/queue?by=message")
    browser.js("document.querySelector('#scope').value = 'all'")
    browser.click("button[name=order][value=retry]")
    must("is this right" in browser.text(), browser.text)
    browser.click("form.row button[type=submit]")
    wait(lambda: count() == 0, lambda: f"all is delivered: {count()} left", 30)
    must(len(world.sink.taken) == 4, f"{len(world.sink.taken)} arrived")


@check
def each_role_sees_and_does_what_it_may(world):
    browser = world.browser
    for name, role in (("olga", "operator"), ("rita", "read-only"), ("hugo", "help-desk")):
        world.go("/administrators")
        browser.type("#name", name)
        browser.js("document.querySelector('#role').value = arguments[0]", role)
        browser.type("#password", PASSWORD)
        browser.button("Add")
        must(f"{name} is an administrator now" in browser.text(), browser.text)
    world.sign_in("hugo")
    menu = world.menu()
    must(menu and "/administrators" not in menu and "/settings" not in menu, f"the help desk's menu: {menu}")
    for path in ("/administrators", "/acts", "/tokens"):
        must(world.http(path, world.cookie())[0] == 403, f"{path} for the help desk")
    must(world.http("/audit", world.cookie())[0] == 200, "the help desk finds mail")
    world.sign_in("rita")
    must(world.http("/administrators/change", world.cookie(), "name=ann&act=remove")[0] == 403, "a reader removes nobody")
    world.back("ann")


@check
def a_token_is_shown_once_and_opens_the_api(world):
    browser = world.browser
    world.go("/tokens")
    browser.type("#name", "monitoring")
    browser.button("Make")
    token = browser.js("return document.querySelector('#token').textContent")
    request = urllib.request.Request(world.base + "/metrics", headers={"Authorization": f"Bearer {token}"})
    must(urllib.request.urlopen(request, timeout=10).status == 200, "metrics by token")
    world.go("/tokens")
    must(token not in browser.text() and "monitoring" in browser.text(), browser.text)


@check
def what_was_done_is_on_the_list(world):
    world.go("/acts?q=olga")
    text = world.browser.text()
    must("added an administrator" in text and "127.0.0.1" in text and PASSWORD not in text, text)
    world.picture("acts")


@check
def every_entry_of_the_menu_leads_to_a_page(world):
    lost = [path for path in world.menu() if world.http(path, world.ann)[0] != 200]
    must(not lost, f"the menu leads nowhere: {' '.join(lost)}")


@check
def every_page_is_whole_in_both_widths_in_light_and_dark(world):
    browser, wrong = world.browser, []
    for path in [*world.pages_seen, "/nowhere"]:
        for width in WIDTHS:
            for dark in (False, True):
                browser.look(width, dark)
                world.go(path)
                if not dark:
                    wrong += overflow(world, path, width)
                world.picture(f"{name_of(path)}-{width}{'-dark' if dark else ''}", fresh=False)
    browser.look(WIDTHS[0])
    must(not wrong, "; ".join(wrong))


def name_of(path):
    return re.sub(r"[^a-z0-9]+", "-", path.lower()).strip("-")[:60] or "dashboard"


def overflow(world, path, width):
    wide = world.browser.js("return document.documentElement.scrollWidth")
    if wide <= width:
        return []
    culprit = world.browser.js("""const all = [...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1);
        const one = all.pop(); return one ? one.tagName + '.' + one.className + ' ' + one.textContent.trim().slice(0, 40) : '?'""")
    return [f"{path} is {wide} wide at {width} ({culprit})"]


@check
def every_page_can_be_read_without_script(world):
    browser, wrong = world.browser, []
    browser.look(WIDTHS[0], scripts=False)
    for path in world.pages_seen:
        world.go(path)
        text = browser.do("POST", "/element", {"using": "css selector", "value": "main"})
        text = browser.do("GET", f"/element/{next(iter(text.values()))}/text")
        if len(text) < 20:
            wrong.append(f"{path}: {text!r}")
    browser.look(WIDTHS[0])
    must(not wrong, "; ".join(wrong))


@check
def no_page_complains_in_the_console(world):
    world.browser.complaints()
    wrong = []
    for path in world.pages_seen:
        world.go(path)
        wrong += [f"{path}: {line}" for line in world.browser.complaints() if "404" not in line]
    must(not wrong, "; ".join(wrong)[:600])


@check
def no_page_shuts_anybody_out(world):
    """axe-core's rules of WCAG 2.2 A and AA."""
    must(AXE.exists(), f"{AXE} is missing: tools/setup.sh")
    source, wrong = AXE.read_text(), []
    for dark in (False, True):
        world.browser.look(WIDTHS[0], dark)
        for path in world.pages_seen:
            world.go(path)
            # The policy keeps foreign scripts out of the page; the debugger may put one in.
            world.browser.cdp("Runtime.evaluate", expression=source)
            found = world.browser.js_async("""const done = arguments[arguments.length - 1];
                axe.run({ runOnly: arguments[0] ? ['wcag2aa'] : ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa', 'best-practice'] }).then(r => done(r.violations
                    .filter(v => ['serious', 'critical'].includes(v.impact))
                    .map(v => `${v.id} (${v.nodes.length}): ${v.nodes[0].html.slice(0, 120)} ${(v.nodes[0].any[0] || {}).message || ''}`)))""", dark)
            wrong += [f"{path}{' dark' if dark else ''}: {one}" for one in found]
    world.browser.look(WIDTHS[0])
    must(not wrong, "\n  ".join(wrong))


@check
def the_keyboard_shows_where_it_is(world):
    browser = world.browser
    world.go("/administrators")
    browser.press("\ue004")
    must(browser.js("return document.activeElement.className") == "skip", "the first stop skips to the content")
    for _ in range(25):
        browser.press("\ue004")
        seen = browser.js("""const s = getComputedStyle(document.activeElement);
            return [document.activeElement.outerHTML.slice(0, 80), s.outlineStyle, parseFloat(s.outlineWidth)]""")
        must(seen[1] != "none" and seen[2] >= 2, f"no outline on {seen[0]}")


@check
def signing_out_ends_it(world):
    browser = world.browser
    world.go("/account")
    browser.click(".who summary")
    browser.click(".who form button")
    must("/sign-in" in browser.url(), browser.url)
    must(world.http("/account", world.ann)[0] == 303, "the session is of no use any more")


def images(pictures):
    """The book's: few and small."""
    for name, to in (("first-start", "first-start"), ("acts", "acts"), ("queue-by-cause", "queue")):
        found = pictures / f"{name}.png"
        if found.exists():
            to = ROOT / f"docs/book/images/{to}.png"
            to.parent.mkdir(exist_ok=True)
            shutil.copy(found, to)
            must(to.stat().st_size < 150_000, f"{to} is too large for the book")


def picture(world, name, fresh=True):
    world.pictures.mkdir(parents=True, exist_ok=True)
    world.browser.picture(world.pictures / f"{name}.png")
    world.screenshots += 1


def back(world, _name):
    """The browser is ann's again."""
    world.browser.do("DELETE", "/cookie")
    world.go("/sign-in")
    world.browser.do("POST", "/cookie", {"cookie": {"name": "gatepost", "value": world.ann, "path": "/", "httpOnly": True}})
    world.go("/account")


World.picture, World.back = picture, back
World.pages_seen = property(lambda world: world.__dict__.setdefault("_seen", [p for p in world.pages() if world.http(p, world.ann)[0] == 200]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gatepost", nargs="?", default=str(ROOT / "target/debug/gatepost"))
    parser.add_argument("--only")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--images", action="store_true")
    parser.add_argument("--pictures", default=str(ROOT / "target/browser"))
    options = parser.parse_args()
    if options.list:
        print("\n".join(name for name, _ in CHECKS))
        return
    started, failed, done = time.monotonic(), 0, 0
    folder, pictures = Path(tempfile.mkdtemp(prefix="gatepost-pages-")), Path(options.pictures)
    shutil.rmtree(pictures, ignore_errors=True)
    world = World(str(Path(options.gatepost).resolve()), folder, pictures)

    def late(*_):
        raise Failed(f"the whole run took more than {LONGEST_S} s")
    signal.signal(signal.SIGALRM, late)
    signal.alarm(LONGEST_S)
    try:
        world.start()
        for name, function in CHECKS:
            begun = time.monotonic()
            try:
                function(world)
                print(f"ok {name} ({time.monotonic() - begun:.1f} s)", flush=True)
            except Exception as error:  # what a check meets is its failure, and the others still run
                failed += 1
                reason = error if isinstance(error, Failed) else traceback.format_exc(limit=3)
                print(f"FAIL {name} {reason}", flush=True)
                if "more than" in str(error):
                    break
            done += 1
            if options.only == name:
                break
        if options.images:
            images(pictures)
    finally:
        signal.alarm(0)
        world.stop()
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"browser: {done - failed} of {done} checks passed in {time.monotonic() - started:.0f} s, {world.screenshots} screenshots in {pictures}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
