#!/usr/bin/env python3
"""What one more message costs, as connections, queue and destinations grow.

  growth.py [--quick] [--only connections,queue,destinations] [--gatepost FILE] [--out FILE]
  growth.py --report        measures all of it (ten minutes) and writes it into BENCHMARKS.md

Each row is measured with the same load: 4 KiB messages over 20 connections as fast as they go, for CPU time and rate; then 50 messages
a second, for the time from the final dot to the arrival. What grows beside it:

  connections   idle connections of clients, after EHLO
  queue         messages that wait for other destinations (5,000 domains), put into the spool beforehand; and the time of a start with them
  destinations  domains, each its own mail exchanger at an address of its own, by DNS; mail goes to them in turn. First nothing is known
                of them, then their DNS answers are
"""
import argparse, json, os, resource, select, shutil, signal, sqlite3, sys, tempfile, time
from pathlib import Path

import run

SIZES = {"connections": (0, 10, 100, 1_000, 10_000), "queue": (1, 1_000, 100_000, 1_000_000), "destinations": (1, 100, 1_000, 10_000)}
QUICK = {"connections": (0, 100, 1_000), "queue": (1, 1_000, 20_000), "destinations": (1, 100, 500)}
MESSAGES = 6_000
BEGIN, END = "<!-- growth: begin -->", "<!-- growth: end -->"
DAY_MS = 86_400_000


class Gatepost(run.Gatepost):
    name, port, next_hop, control = "growth", 2608, 2708, 8028
    more = f"""port = {next_hop}
[queue]
limit = 10000000
[dns]
servers = ["127.0.0.1:53"]
[route.other]
next_hops = "mx"
"""
    # The MX of run.dnsstub's many domains are strangers: only this network's may be dialled.

    def configure(self):
        super().configure()
        settings = self.folder / "settings.toml"
        # Mail for strangers is taken, as from the organisation's own servers.
        settings.write_text(settings.read_text() + "[listener.outbound]\nconnections = 20000\nconnections_per_address = 20000\nmessages_per_session = 0\n")
        host = self.folder / "gatepost.toml"
        host.write_text(host.read_text().replace("inbound =", "outbound ="))

    def fill(self, count, already):
        """Deliveries of other domains, due in a day, as rows of a stopped gateway's spool."""
        with sqlite3.connect(self.queue / "spool.db", isolation_level=None) as db:
            db.execute("PRAGMA synchronous = OFF")
            now, content = time.time_ns() // 1_000_000, b"x" * 500
            for start in range(already, count, 20_000):
                numbers = range(start, min(start + 20_000, count))
                ids = {number: (now - 2 * DAY_MS + number) << 21 for number in numbers}
                db.execute("BEGIN")
                db.executemany("INSERT INTO message (id, received_ms, envelope, size, crc, content) VALUES (?, ?, '{}', ?, 0, ?)",
                               ((id_, now - 2 * DAY_MS + number, len(content), content) for number, id_ in ids.items()))
                db.executemany("INSERT INTO delivery (message, n, lane, next_ms, state, attempts, sender, recipients, status, extra) VALUES (?, 0, ?, ?, 0, 1, 'a@source.test', ?, '451 4.4.1 x', '{}')",
                               ((id_, f"w{number % 5000}.test", now + DAY_MS + number, json.dumps([{"address": f"user@w{number % 5000}.test"}])) for number, id_ in ids.items()))
                db.execute("COMMIT")


class Growth:
    def __init__(self, bench, quick):
        self.bench, self.quick, self.sizes = bench, quick, QUICK if quick else SIZES
        self.gateway = Gatepost(bench.folder)

    def load(self, label, *options, messages=None):
        """CPU time, rate and delay of mail that goes through."""
        gateway, messages = self.gateway, messages or (MESSAGES // 6 if self.quick else MESSAGES)
        sink, cpu, began = run.Sink(self.bench, f"0.0.0.0:{gateway.next_hop}"), gateway.cgroup.cpu(), time.monotonic()
        sent = json.loads(run.bsrc(gateway, "-n", messages, "-s", 20, "-k", 0, "-T", 120, "-i", label, *options).communicate()[0])
        arrived = sink.wait(messages, 90, quiet=20)
        rate = round(arrived / max(sink.last() - began, 0.001))
        time.sleep(0.5)
        cpu = gateway.cgroup.cpu() - cpu
        sink.stop()
        return dict(messages=messages, arrived=arrived, failed=sent["failed"], relay_rate=rate, cpu_ms=round(cpu / messages * 1000, 4), pss_mb=gateway.memory()["pss_mb"])

    def delay(self, *options):
        rate, messages = 50, 100 if self.quick else 250
        log, acks = self.bench.folder / "growth.sink", self.bench.folder / "growth.acks"
        sink = run.Sink(self.bench, f"0.0.0.0:{self.gateway.next_hop}", log)
        run.bsrc(self.gateway, "-n", messages, "-r", rate, "-s", 20, "-T", messages / rate + 20, "-o", acks, "-i", "l", *options).communicate()
        sink.wait(messages, 30, quiet=10)
        time.sleep(0.4)
        sink.stop()
        arrivals = dict(line.split() for line in reversed(log.read_text().split("\n")) if line)
        took = [(int(arrivals[token]) - dot) / 1e6 for token, (dot, _) in run.acknowledged(acks).items() if token in arrivals]
        return dict(p50_ms=run.percentile(took, .5), p99_ms=run.percentile(took, .99))

    def fresh(self):
        self.gateway.stop()
        self.gateway.reset()
        self.gateway.start()
        self.load("warm", messages=500)

    def connections(self):
        self.fresh()
        for count in self.sizes["connections"]:
            held, source = 0, None
            if count:
                source = run.bsrc(self.gateway, "-H", count, "-T", 180)
                line = source.stdout.readline() if select.select([source.stdout], [], [], 60)[0] else ""
                held = json.loads(line or '{"held":-1}')["held"]
            try:
                yield count, dict(held=held) | self.load("c") | self.delay()
            finally:
                if source:
                    source.terminate()
                    source.wait()

    def queue(self):
        self.fresh()
        filled = 0
        for count in self.sizes["queue"]:
            self.gateway.stop()
            self.gateway.fill(count, filled)
            filled, started = count, self.gateway.start()
            self.load("warm", messages=500)
            yield count, dict(start_s=round(started, 2)) | self.load("q") | self.delay()

    def destinations(self):
        for count in self.sizes["destinations"]:
            self.fresh()
            messages = max(count, MESSAGES // 3)
            cold = self.load("d", "-D", count, messages=messages)
            yield count, dict(cold_cpu_ms=cold["cpu_ms"], cold_rate=cold["relay_rate"], cold_arrived=cold["arrived"]) | self.load("e", "-D", count, messages=messages) | self.delay("-D", count)

    def measure(self, only):
        """Each row as (what grows, how far, figures)."""
        try:
            for what in only:
                for count, figures in getattr(self, what)():
                    yield what, count, figures
        finally:
            for sink in run.Sink.running:
                sink.stop()
            run.Sink.running.clear()
            self.gateway.stop()
            self.gateway.reset()


COLUMNS = {
    "connections": (("idle connections", "held"), ("CPU ms a message", "cpu_ms"), ("messages/s", "relay_rate"), ("delivery p50 ms", "p50_ms"), ("p99 ms", "p99_ms"), ("PSS MB", "pss_mb")),
    "queue": (("messages waiting", None), ("CPU ms a message", "cpu_ms"), ("messages/s", "relay_rate"), ("delivery p50 ms", "p50_ms"), ("p99 ms", "p99_ms"), ("PSS MB", "pss_mb"), ("start s", "start_s")),
    "destinations": (("destinations", None), ("CPU ms a message", "cpu_ms"), ("messages/s", "relay_rate"), ("delivery p50 ms", "p50_ms"), ("p99 ms", "p99_ms"), ("PSS MB", "pss_mb"),
                     ("CPU ms, nothing known", "cold_cpu_ms")),
}
BAR = 24


def section(rows, where):
    text = [f"Measured {time.strftime('%Y-%m-%d')} with `bench/growth.py --report`: {where}. One run. The bar is the CPU time of one message; it should not grow with what stands before it."]
    for what, columns in COLUMNS.items():
        mine = [(count, figures) for kind, count, figures in rows if kind == what]
        if not mine:
            continue
        most = max(figures["cpu_ms"] for _, figures in mine) or 1
        text += ["", f"### growth with {what}", "", "| " + " | ".join(title for title, _ in columns) + " | |", "|" + "---|" * (len(columns) + 1)]
        for count, figures in mine:
            cells = [run.figure(figures[field] if field else count) for _, field in columns]
            text.append("| " + " | ".join(cells) + " | " + "█" * max(1, round(BAR * figures["cpu_ms"] / most)) + " |")
        lost = [f"{count}: {figures['arrived']} of {figures['messages']} arrived" for count, figures in mine if figures["arrived"] < figures["messages"]]
        if lost:
            text += ["", "Incomplete: " + "; ".join(lost) + "."]
    return "\n".join(text) + "\n"


def write(told):
    page = run.ROOT / "BENCHMARKS.md"
    text = page.read_text()
    if BEGIN not in text:
        text = text.rstrip("\n") + f"\n\n## What one more message costs, as things grow\n\n{BEGIN}\n{END}\n"
    before, _, rest = text.partition(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{told}{END}{rest.partition(END)[2]}")


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help="small sizes; prints only")
    options.add_argument("--only", default=",".join(SIZES))
    options.add_argument("--report", action="store_true", help="write BENCHMARKS.md")
    options.add_argument("--gatepost", type=Path, help="measure this program instead of building one")
    options.add_argument("--out", type=Path, default=run.ROOT / "bench/out" / time.strftime("growth-%Y%m%d-%H%M%S.jsonl"))
    given = options.parse_args()
    given.peers, given.rounds = "gatepost", 1
    if os.geteuid():
        sys.exit("growth.py: needs root, for a network namespace and cgroups")
    if "BENCH_INSIDE" not in os.environ:
        run.build(given)
        run.enter_namespace()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("growth.py: stopped"))
    folder, rows = Path(tempfile.mkdtemp(prefix="gatepost-growth-", dir="/var/tmp")), []
    folder.chmod(0o755)
    try:
        bench = run.Bench(given, folder)
        bench.gateways = []
        growth = Growth(bench, given.quick)
        bench.gateways = [growth.gateway]
        bench.before = bench.usage()
        for what, count, figures in growth.measure(given.only.split(",")):
            rows.append((what, count, figures))
            bench.note(test="growth", what=what, count=count, **figures)
        told = section(rows, run.machine(folder).rsplit(", Postfix", 1)[0])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(told)
    if given.report and not given.quick:
        write(told)


if __name__ == "__main__":
    main()
