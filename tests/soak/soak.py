#!/usr/bin/env python3
"""A gateway in a world that goes wrong all the time, by chance and from a seed.

  soak.py GATEPOST [--seconds N] [--seed N] [--pause S] [--report PAGE] [--curve FILE]

Six clients send through all listeners, over IPv4 and IPv6, in the clear and with TLS and AUTH, by DATA and BDAT: 200 octets to 20 MB, one
recipient to 150, to aliases, with masquerading. Next hops refuse, defer, greylist, count connections, hang, trickle, break TLS, close
before, in the middle and after the final dot; DNS answers, fails, is silent, says that names do not exist, changes exchangers;
settings change (next hops, aliases, limits, MTA operation, disk reserve; some documents are broken); an administrator holds,
releases, retries and reroutes; pages are read; clients storm, trickle and vanish. In rough parts the program is killed and restarted; in
steady parts, most of the time, one process must bear it all. In the end the world behaves, and then:

  every recipient of an acknowledged message has it, whole, or its sender was told so
  none went twice to a hop that had confirmed it, unless the program was killed in between, and none is recorded as delivered twice
  nothing was refused for good; the queue is empty; no page failed; SIGTERM ended it each time
  memory, file descriptors and threads did not grow

A failure prints the seed: the same seed makes the same choices (the machine's own timing stays its own).
"""
import argparse, collections, json, os, random, shutil, signal, statistics, subprocess, sys, tempfile, threading, time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "proof"), str(HERE.parent / "peers")]
import proof
from clients import Clients
from peers import Failed
from world import Dns, Gateway, HOP6, Hop, Ledger, NETWORK6

MEMORY_MAX_MB = 600
DESCRIPTORS_MAX, THREADS_MAX = 2_000, 600
# A delivery that the gateway had not yet recorded when it was killed was confirmed at most so long before.
RECORDED_S = 30
# Parts of the time, and whether one process lives through them; in the others the program is killed and restarted.
PARTS = ((0.1, False), (0.3, True), (0.1, False), (0.5, True))
PARTS_SHORT = ((0.7, False), (0.3, True))


class Meter(threading.Thread):
    """What the process takes, every ten seconds: (seconds, process, PSS in MB, descriptors, threads, queued, data in MB)."""

    def __init__(self, gateway, every_s):
        super().__init__(daemon=True)
        self.gateway, self.every_s, self.rows, self.begun, self.ended = gateway, every_s, [], time.monotonic(), threading.Event()
        self.start()

    def run(self):
        while not self.ended.wait(self.every_s):
            try:
                self.rows.append(self.row())
            except (OSError, AttributeError, ValueError, IndexError):
                pass  # it is being restarted

    def row(self):
        pid = self.gateway.child.pid
        memory = int(Path(f"/proc/{pid}/smaps_rollup").read_text().split("\nPss:")[1].split()[0]) / 1024
        threads = int(Path(f"/proc/{pid}/status").read_text().split("Threads:")[1].split()[0])
        answer = self.gateway.http("GET", "/metrics")
        queued = [line.split()[-1] for line in (answer[1].decode() if answer else "").split("\n") if line.startswith("gatepost_queue_deliveries ")]
        return (time.monotonic() - self.begun, pid, memory, len(os.listdir(f"/proc/{pid}/fd")), threads, int(queued[0]) if queued else -1, data_mb(self.gateway))


def data_mb(gateway):
    return int(subprocess.run(["du", "-sm", gateway.data], capture_output=True, text=True).stdout.split()[0])


def spark(values, of):
    """The medians of so many equal parts, as text."""
    parts = [values[len(values) * at // of:len(values) * (at + 1) // of] for at in range(of)]
    return " ".join(f"{statistics.median(part):.0f}" for part in parts if part)


class Soak:
    def __init__(self, world, seconds, pause_s, certificate):
        self.world, self.seconds = world, seconds
        chance = lambda what: random.Random(f"{world.seed} {what}")
        self.chance, self.ledger, self.counts = chance("world"), Ledger(), collections.Counter()
        addresses = [proof.own_address(), proof.own_address()] + ([HOP6] if world.six else [])
        self.hops = [Hop(address, self.ledger, chance(f"hop {at}"), certificate) for at, address in enumerate(addresses)]
        self.dns = Dns(proof.own_address(), self.hops, chance("dns"))
        self.gateway = world.gateway = Gateway(world.binary, world.folder("soak"), self.hops, self.dns.address, self.ledger)
        self.gateway.start()
        self.clients = Clients(world, self.gateway, self.ledger, pause_s)
        self.meter = Meter(self.gateway, min(10, max(1, seconds / 60)))

    def run(self):
        end = time.monotonic()
        for part, steady in PARTS if self.seconds >= 600 else PARTS_SHORT:
            end += self.seconds * part
            while time.monotonic() < end:
                time.sleep(max(0, min(self.chance.uniform(0.3, 4.0), end - time.monotonic())))
                self.turn(steady)
                self.clients.check()
                if self.gateway.child.poll() is not None:
                    raise Failed(f"the gateway ended by itself: {self.gateway.last_words()}")
                self.say()
        self.settle()

    def turn(self, steady):
        what = self.chance.choices(("settings", "broken", "exchangers", "limit", "hangup", "kill", "stop"), (5, 1, 3, 3, 1, 0 if steady else 7, 0 if steady else 3))[0]
        self.counts[what] += 1
        if what == "settings":
            self.gateway.settings(self.chance)
        elif what == "broken":
            good = (self.gateway.folder / "settings.toml").read_text()
            self.gateway.put(good + self.chance.choice(("\nhostnam = 1\n", "\n[[domain]]\nname = 5\n", "\n[retry]\nfirst = 'soon'\n", "\n]\n")))
            time.sleep(3)
            self.gateway.put(good)
        elif what == "exchangers":
            self.dns.turn()
        elif what == "limit":
            hop = self.chance.choice(self.hops)
            hop.limited = not hop.limited
        elif what == "hangup":
            self.gateway.signal(signal.SIGHUP)
        elif what == "kill":
            with self.gateway.turning:
                self.gateway.kill()
                self.gateway.start()
        else:
            with self.gateway.turning:
                if not self.gateway.stop():
                    raise Failed("SIGTERM was not followed by a clean end")
                self.gateway.start()

    shown = 0

    def say(self):
        if time.monotonic() > self.shown + 60 and self.meter.rows:
            self.shown, (at, _, memory, descriptors, threads, queued, data) = time.monotonic(), self.meter.rows[-1]
            print(f"  {at:.0f} s: {len(self.ledger.promised)} acknowledged, {queued} queued, {memory:.0f} MB, {descriptors} descriptors, {threads} threads, data {data} MB",
                  file=sys.stderr, flush=True)

    def settle(self):
        """The clients go, the world behaves, and the queue drains."""
        self.clients.stop()
        for one in (*self.hops, self.dns):
            one.calm = True
        self.dns.turn()
        self.gateway.settings()
        self.last = self.meter.rows[-1] if self.meter.rows else self.meter.row()
        if not self.gateway.stop():
            raise Failed("SIGTERM was not followed by a clean end")
        self.gateway.start()
        self.gateway.drain()
        self.meter.ended.set()
        self.meter.join()

    def verify(self):
        ledger, gateway = self.ledger, self.gateway
        if lacking := ledger.lacking():
            told = "; ".join(f"{name} to {to}: {self.story(name)}" for name, to in lacking[:5])
            raise Failed(f"{len(lacking)} recipients of {len(ledger.promised)} acknowledged messages got nothing, and nobody was told: {told}")
        if ledger.damaged:
            raise Failed(f"{len(ledger.damaged)} messages arrived changed: {ledger.damaged[:5]}")
        twice = ledger.twice()
        for (name, to), times in twice.items():
            if not any(times[0] - 1 < end < times[1] and end < times[0] + RECORDED_S for end in gateway.ends):
                raise Failed(f"{name} went to {to} again {times[1] - times[0]:.1f} s after it had been confirmed, and no kill was between: {self.story(name)}")
        for name, to in list(twice)[:200]:
            recorded = [event for event in self.events(name) if event["event"] == "delivered" and to in [known.lower() for known in event["fields"]["recipients"]]]
            if len(recorded) > 1:
                raise Failed(f"{name} to {to} was recorded as delivered twice: {self.story(name)}")
        if bad := [refused for refused in ledger.refused if refused[1] // 100 == 5]:
            raise Failed(f"mail was refused for good: {bad[:5]}")
        for name in self.chance.sample(list(ledger.promised), min(100, len(ledger.promised))):
            if not self.events(name):
                raise Failed(f"{name} is not in the audit trail")
        if "panicked" in (gateway.folder / "output").read_text(errors="replace"):
            raise Failed(gateway.last_words())
        alerts = collections.Counter(line.split("ALERT: ")[1][:100] for line in (gateway.data / "maillog").read_text(errors="replace").split("\n") if " ALERT: " in line)
        if damaged := [line for line in alerts if "cannot be read" in line or "damage" in line]:
            raise Failed(f"alerts: {damaged[:3]}")
        return twice

    def events(self, name):
        if name not in self.ledger.promised:
            return []
        return json.loads(self.gateway.ask("audit", "show", self.ledger.promised[name][0], "--json"))

    def story(self, name):
        """What the trail says of a message, in short."""
        says = lambda event: f"{event['time'][11:23]} {event['event']} {event.get('fields', {}).get('recipients', '')} {event.get('fields', {}).get('status', '')}"
        return f"{self.ledger.promised.get(name, '?')}: " + "; ".join(map(says, self.events(name)))

    def steady(self):
        """Memory, descriptors and threads of the longest life."""
        rows = self.meter.rows
        longest = collections.Counter(row[1] for row in rows).most_common(1)[0][0]
        life = [row for row in rows if row[1] == longest]
        third = max(1, len(life) // 3)
        middle, late = (lambda at: statistics.median(row[at] for row in life[third:2 * third] or life)), (lambda at: statistics.median(row[at] for row in life[-third:]))
        for at, what, allowed in ((2, "memory (MB)", 60), (3, "file descriptors", 100), (4, "threads", 60)):
            if late(at) > 1.3 * middle(at) + allowed:
                raise Failed(f"{what} grew from {middle(at):.0f} to {late(at):.0f} within the life of one process: {[round(row[at]) for row in life]}")
        for at, what, most in ((2, "memory (MB)", MEMORY_MAX_MB), (3, "file descriptors", DESCRIPTORS_MAX), (4, "threads", THREADS_MAX)):
            if max(row[at] for row in rows) > most:
                raise Failed(f"{what}: {max(row[at] for row in rows):.0f}, more than {most}")
        return life

    def told(self, twice):
        ledger, rows, life = self.ledger, self.meter.rows, self.steady()
        recipients = sum(len(to) for _, to in ledger.promised.values())
        quarter = max(1, len(rows) // 4)
        column = lambda at, some=rows: [row[at] for row in some]
        moods = sum((hop.moods for hop in self.hops), collections.Counter())
        put_off = collections.Counter(code for _, code, _ in ledger.refused)
        copies = len({key for key in ledger.unsaid if key in ledger.arrived})
        return {
            "promise": f"{self.seconds} s, {len(ledger.promised)} messages to {recipients} recipients acknowledged, none lost, none changed; "
                       f"{len(ledger.told)} recipients given up and their senders told; {sum(put_off.values())} times put off with 4xx, never refused for good",
            "copies": f"{len(twice)} recipients got a message again after a confirmation, each because of a kill before it was recorded; {copies} because the hop took it and said nothing; "
                      f"none recorded as delivered twice",
            "world": f"{self.counts['kill']} kills, {self.counts['stop']} restarts (slowest start {max(self.gateway.started):.1f} s), {self.counts['settings']} changes of settings, "
                     f"{self.counts['broken']} broken documents, {self.counts['exchangers']} changes of MX records, {self.clients.orders} orders, "
                     f"{self.clients.vandalism} attacks of clients; {sum(moods.values())} connections to next hops, {sum(moods.values()) - moods['good'] - moods['tls']} of which went wrong",
            "memory": f"median {statistics.median(column(2, rows[:quarter])):.0f} MB in the first quarter, {statistics.median(column(2, rows[-quarter:])):.0f} MB in the last, {max(column(2)):.0f} MB at most; "
                      f"the longest life of one process ({life[-1][0] - life[0][0]:.0f} s), medians of its twelfths: {spark(column(2, life), 12)}",
            "descriptors, threads": f"{spark(column(3, life), 6)}; {spark(column(4, life), 6)} (medians of the sixths of that life); at most {max(column(3))} and {max(column(4))}",
            "queue": f"at most {max(column(5))} deliveries, {self.last[5]} when the clients went, 0 in the end; data folder {spark(column(6), 6)} MB, {data_mb(self.gateway)} MB in the end",
            "Control Center": self.clients.seen(),
        }


def namespace():
    """This program again in a network of its own, where IPv6 addresses can be had. Without the means: as we are, IPv4 only."""
    setup = f'ip link set lo up && echo 1 > /proc/sys/net/ipv6/ip_nonlocal_bind && ip -6 route add local {NETWORK6} dev lo && SOAK_INSIDE=6 exec "$@"'
    flags = "-n" if os.geteuid() == 0 else "-rn"
    if subprocess.run(["unshare", flags, "sh", "-c", setup, "sh", "true"], capture_output=True).returncode == 0:
        os.execvp("unshare", ["unshare", flags, "sh", "-c", setup, "sh", sys.executable] + sys.argv)
    print("no network namespace: IPv4 only", flush=True)


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("binary", nargs="?", default="target/debug/gatepost", type=Path)
    words.add_argument("--seconds", type=int, default=20)
    words.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    words.add_argument("--pause", type=float, default=0.4, help="seconds that a client rests at most between two messages")
    words.add_argument("--report", type=Path, help="write the figures between the marks of this page")
    words.add_argument("--curve", type=Path, help="write what the process took, row by row, as CSV")
    said = words.parse_args()
    if "SOAK_INSIDE" not in os.environ:
        namespace()
    root = Path(tempfile.mkdtemp(prefix="gatepost-soak-"))
    world = proof.World(said.binary.resolve(), root, False, said.seed, False, None)
    world.gateway, world.six, certificate = None, os.environ.get("SOAK_INSIDE") == "6", root / "certificate"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=sink.test",
                    "-keyout", f"{certificate}.key", "-out", f"{certificate}.pem"], check=True, capture_output=True)
    print(f"seed {said.seed}, in {root}", flush=True)
    soak = None
    try:
        soak = Soak(world, said.seconds, said.pause, certificate)
        soak.run()
        results = soak.told(soak.verify())
    except Failed as reason:
        print(f"FAIL soak (seed {said.seed}): {reason}\nleft in {root}\n0 passed, 1 failed")
        return 1
    finally:
        if soak and said.curve:
            said.curve.write_text("seconds,process,pss_mb,descriptors,threads,queued,data_mb\n" + "".join(",".join(f"{value:.0f}" for value in row) + "\n" for row in soak.meter.rows))
        if world.gateway and world.gateway.child:
            world.gateway.kill()
    if said.report:
        proof.report(said.report, said.seed, results, "soak")
    shutil.rmtree(root, ignore_errors=True)
    for name, told in results.items():
        print(f"ok {name}: {told}")
    print("1 passed, 0 failed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
