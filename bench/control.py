#!/usr/bin/env python3
"""How long every page and every answer of the API takes over a long queue, a long audit log and many aliases.

    bench/control.py GATEPOST DATA [--aliases N] [--log MB] [--times N] [--only TEXT] [--report PAGE]

DATA is a data folder that the store's examples `pages` (a queue) and `trail` (an audit log) filled. The gateway runs on it with
delivery paused. What to ask is found: pages in the source of the Control Center, the API's questions in its OpenAPI document; a
few are asked in several ways. Each is asked once cold, right after a start, and then again and again: first, median and 95th
percentile in milliseconds. What takes longer than LIMIT is marked; a page that is not found, or answers an error, is told.
"""

import argparse
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 100

# Pages that are asked in several ways.
WAYS = {
    "/": ["/", "/?span=hour", "/?span=month"],
    "/queue": ["/queue", "/queue?by=cause&after=1/zzz/zzz", "/queue?by=domain"] + [
        f"/queue?by=message{more}" for more in [
            "", "&sort=newest", "&sort=next", "&sort=expiry", "&sort=attempts", "&sort=largest", "&domain=d0.test", "&domain=d0.test&sort=expiry",
            "&domain=d77.test&sort=next", "&cause=peer.greylist", "&cause=peer.greylist&sort=next", "&cause=none", "&held=yes", "&held=no&older=1h",
            "&sender=nobody@", "&sender=%3C%3E", "&recipient=nobody@", "&text=no+such+words"]],
    "/audit": ["/audit", "/audit?term=corp.test", "/audit?term=zyxwv", "/audit?term=quarter+budget", "/audit?outcome=bounced", "/audit?outcome=deferred&recipient=corp.test"],
    "/explain": ["/explain", "/explain?q=450+4.7.1+greylisted", "/explain?q=peer.greylist"],
    "/logs": ["/logs", "/logs?text=no+such+words", "/logs?tag=ML-PERMFAIL", "/logs?until=2026-11-01"],
    "/destinations/{domain}": ["/destinations/d77.test", "/destinations/d0.test", "/destinations/nowhere.test"],
    "/api/v1/queue/messages": ["/api/v1/queue/messages", "/api/v1/queue/messages?rows=500"],
    "/api/v1/audit": ["/api/v1/audit", "/api/v1/audit?term=corp.test"],
}
# What is sent as long as somebody listens, or is as long as the log: measured until it begins.
ENDLESS, LONG = re.compile(r"/(live|events)$"), re.compile(r"/(download|export)$")


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("gatepost", type=Path)
    words.add_argument("data", type=Path)
    words.add_argument("--aliases", type=int, default=0)
    words.add_argument("--log", type=int, default=0, metavar="MB", help="a log of that size, and two rotated ones")
    words.add_argument("--times", type=int, default=20)
    words.add_argument("--only", default="")
    words.add_argument("--report", type=Path, help="write the figures between the marks of this page")
    said = words.parse_args()
    with tempfile.TemporaryDirectory(prefix="gatepost-bench-") as folder:
        told = Bench(said, Path(folder)).run()
    if said.report:
        report(said.report, told)


def free():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Bench:
    def __init__(self, said, folder):
        self.said, self.folder = said, folder
        self.program, self.data = said.gatepost.resolve(), said.data.resolve()
        self.host, self.control, self.inbound = folder / "gatepost.toml", free(), free()
        settings = 'hostname = "gw.corp.test"\nmode = "pause-delivery"\n[[domain]]\nname = "corp.test"\nnext_hops = ["192.0.2.1"]\n'
        settings += "".join(f'[[alias]]\nfrom = "a{n}@corp.test"\nto = ["user{n}@corp.test"]\n' for n in range(said.aliases))
        (folder / "settings.toml").write_text(settings)
        self.host.write_text(f'data = "{self.data}"\nsettings_file = "settings.toml"\n[listen]\ninbound = ["127.0.0.1:{self.inbound}"]\n'
                             f'[control]\nlisten = "127.0.0.1:{self.control}"\n')
        if said.log:
            self.write_log(said.log)

    def write_log(self, size):
        for name in ["maillog.2", "maillog.1", "maillog"]:
            line = "2026 Nov %02d %02d:%02d:%02d UTC (info) gatepost: [12] ML-DELIVERY: Audit ID 38GJ3X6RR0000, host: mx.test, status: 250 2.0.0 Ok: queued as 4B7F2\n"
            day = {"maillog.2": 10, "maillog.1": 11, "maillog": 12}[name]
            with open(self.data / name, "w") as file:
                pieces = max(1, size * 10)
                for at in range(pieces):  # 100 KB each
                    second = 86_399 * at // pieces
                    file.write((line % (day, second // 3600, second // 60 % 60, second % 60)) * 750)

    def command(self, *words):
        began = time.perf_counter()
        done = subprocess.run([self.program, *words, "--config", self.host], capture_output=True, text=True)
        return done, (time.perf_counter() - began) * 1000

    def start(self):
        began = time.perf_counter()
        self.gateway = subprocess.Popen([self.program, "run", "--config", self.host], stdout=subprocess.DEVNULL)
        while self.command("status")[0].returncode != 0:
            if self.gateway.poll() is not None:
                sys.exit("the gateway ended at once")
            time.sleep(0.1)
        return time.perf_counter() - began

    def stop(self):
        self.gateway.terminate()
        self.gateway.wait()

    def ask(self, path):
        """Milliseconds until it is there, its status and its octets. Of what never ends, until it begins."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.control}{path}", headers={"Authorization": f"Bearer {self.token}"})
        began = time.perf_counter()
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                plain = path.split("?")[0]
                octets = b"" if ENDLESS.search(plain) else answer.read1(65_536) if LONG.search(plain) else answer.read()
                return (time.perf_counter() - began) * 1000, answer.status, octets
        except urllib.error.HTTPError as error:
            return (time.perf_counter() - began) * 1000, error.code, error.read()

    def paths(self):
        """Every GET that there is, with examples for its parameters."""
        found = set()
        for file in (ROOT / "crates/control/src").rglob("*.rs"):
            if "testing" in file.parts or file.name == "every.rs":
                continue
            for path, handler in re.findall(r'\.route\(\s*"(/[^"]*)",\s*([a-z_:]+)\(', file.read_text()):
                if handler == "get":
                    found.add(path)
        _, _, document = self.ask("/api/v1/openapi.json")
        found |= {path for path, methods in json.loads(document)["paths"].items() if "get" in methods}
        for path in sorted(found, key=lambda path: (path.startswith("/api"), path)):
            for way in WAYS.get(path, [path]):
                yield re.sub(r"\{(\w+)\}", lambda part: self.examples.get(part[1], "1"), way)

    def run(self):
        started = self.start()
        made, _ = self.command("admin", "token", f"bench-{self.control}", "--role", "full")
        if made.returncode != 0:
            sys.exit(made.stdout + made.stderr)
        self.token = made.stdout.split()[-1]
        status = json.loads(self.command("status", "--json")[0].stdout)
        _, _, first = self.ask("/api/v1/queue/messages?rows=1&sort=attempts")
        message = (json.loads(first)["messages"] or [{"id": "01K8Z6T3WQM2V"}])[0]
        self.examples = {"id": message["id"], "domain": "d77.test", "host": "gw.corp.test", "name": "gw.corp.test", "list": "recipients", "version": "1"}
        paths = [path for path in self.paths() if self.said.only in path]
        told = [f"{status.get('queued'):,} deliveries queued; {self.said.aliases:,} aliases; ready {started:.1f} s after the start, {self.resident():.0f} MB resident."]
        rows = []
        print(told[0], flush=True)
        for path in paths:
            times, (_, code, octets) = [], (0, 0, b"")
            used = []
            for _ in range(self.said.times + 1):
                before = self.cpu()
                ms, code, octets = self.ask(path)
                times.append(ms)
                used.append(self.cpu() - before)
                if sum(times) > 4_000:
                    break
            again = times[1:] or times
            rows.append((path, times[0], statistics.median(again), sorted(again)[-1 - len(again) // 20], statistics.median(used), code, len(octets)))
            mark = " <<<" if rows[-1][2] > LIMIT else ""
            print(f"{path:65} first {times[0]:8.1f}  median {rows[-1][2]:8.1f}  95 % {rows[-1][3]:8.1f} ms, CPU {rows[-1][4]:7.1f} ms  {code} {len(octets):9,} octets{mark}", flush=True)
        self.stop()
        cold = []
        for path in ["/", "/queue", "/audit", "/destinations"]:
            if self.said.only in path:
                self.start()
                cold.append((path, self.ask(path)[0]))
                self.stop()
        for path, ms in cold:
            print(f"{path:65} cold {ms:8.1f} ms", flush=True)
        if self.said.aliases:
            told += self.aliases()
        return told, rows, cold

    def cpu(self):
        """Milliseconds of CPU that the gateway has taken so far."""
        total = 0
        for task in Path(f"/proc/{self.gateway.pid}/task").iterdir():
            try:
                total += int((task / "schedstat").read_text().split()[0])
            except FileNotFoundError:
                pass  # It has ended.
        return total / 1e6

    def resident(self):
        with open(f"/proc/{self.gateway.pid}/status") as file:
            return int(re.search(r"VmRSS:\s+(\d+)", file.read())[1]) / 1024

    def aliases(self):
        """What many aliases cost: a check of the settings, a question of one, a recipient at the door."""
        self.start()
        told = []

        def tell(what, ms):
            told.append(f"{what}: {ms:.2f} ms")
            print(told[-1], flush=True)

        text = (self.folder / "settings.toml").read_text().replace("user7@corp.test", "user7@out.test", 1)
        changed = self.folder / "changed.toml"
        changed.write_text(text)
        tell("`gatepost settings check`", self.command("settings", "check", changed)[1])
        tell("`gatepost route`", self.command("route", "a7@corp.test")[1])
        with socket.create_connection(("127.0.0.1", self.inbound)) as peer:
            lines = peer.makefile("rb")

            def say(line):
                peer.sendall(line.encode() + b"\r\n")
                while True:
                    answer = lines.readline()
                    if answer[3:4] != b"-":
                        return answer

            lines.readline()
            say("EHLO bench.test"), say("MAIL FROM:<ann@out.test>")
            times = []
            for n in range(50):
                began = time.perf_counter()
                answer = say(f"RCPT TO:<a{n}@corp.test>")
                times.append((time.perf_counter() - began) * 1000)
            if not answer.startswith(b"250"):
                print("RCPT was answered", answer)
            tell("RCPT of an alias, median", statistics.median(times))
        told.append(f"{self.resident():.0f} MB resident afterwards")
        print(told[-1])
        self.stop()
        return told


def report(page, result):
    told, rows, cold = result
    begin, end = "<!-- make bench-control: begin -->", "<!-- make bench-control: end -->"
    lines = [f"Measured {time.strftime('%Y-%m-%d')} with `make bench-control`: {os.cpu_count()} cores. Milliseconds; **more than {LIMIT}** is marked. First: the first time "
             "that this was asked. CPU: of the gateway for one answer. Without a sign: 200; pages that lead elsewhere or are not there for these examples say so.", ""]
    lines += [f"- {line}" for line in told] + ["", "| page or answer | first | median | 95 % | CPU | octets |", "|---|---|---|---|---|---|"]
    for path, first, median, p95, cpu, code, octets in rows:
        shown = f"**{median:.0f}**" if median > LIMIT else f"{median:.1f}"
        lines.append(f"| `{path}`{'' if code == 200 else f' ({code})'} | {first:.0f} | {shown} | {p95:.0f} | {cpu:.1f} | {octets:,} |")
    lines += ["", "Right after a start of the gateway: " + ", ".join(f"`{path}` {ms:.0f}" for path, ms in cold) + "."]
    text = page.read_text()
    if begin not in text:
        text += f"\n## The Control Center\n\n{begin}\n{end}\n"
    before, rest = text.split(begin)
    page.write_text(before + begin + "\n" + "\n".join(lines) + "\n" + end + rest.split(end)[1])


if __name__ == "__main__":
    main()
