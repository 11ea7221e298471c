#!/usr/bin/env python3
"""The promise, proved from outside: what got a 250 arrives, whatever happens to the process, its disk or its power.

  proof.py GATEPOST [--long] [--only NAME] [--seed N] [--report PAGE] [--keep]

  order   the spool is synced between the end of a message and its 250 (strace)
  kill    SIGKILL at random moments under load, then a new start
  faults  each write, truncation, creation, rename, removal and sync fails in turn: full disk, I/O error, read-only disk
  power   the power is cut at each point of a recorded run: what no sync covered is lost, torn or there

After each the gateway is started anew on what is left, and everything that was acknowledged must reach the next hop (or its
sender be told), and be in the audit trail. Nothing may be refused for good because of a disk, and what the gateway had
recorded as delivered may not be sent again. Short: a sample, drawn anew each time from a seed that is printed; --long: all.
"""
import argparse, collections, concurrent.futures, errno, itertools, json, os, random, re, shutil, signal, smtplib, subprocess, sys, tempfile, threading, time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "peers"))
import recording, stubs
from peers import Failed, Process, wait

NAME = re.compile(rb"proof-[0-9a-z]+-\d+-\d+")
DRAIN_S = 60
ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS)
# Octets of content: in a row of the spool, in a shared segment, in a segment of its own.
SIZES = (300, 40_000, 1_500_000)


_addresses = itertools.count(1)


def own_address():
    """A loopback address for one program alone, so that no port of it can be taken."""
    number = next(_addresses)
    return f"127.{100 + os.getpid() % 100}.{number // 250 + 1}.{number % 250 + 1}"


class Sink(stubs.Sink):
    """The next hop of all domains. While `refuses`, later.test gets 451 and never.test 550 to its recipients."""

    def __init__(self, refuses=True):
        self.refuses, self.taken = refuses, []  # (name, whether it is a report to the sender)
        super().__init__(own_address(), 2525)

    async def rcpt(self, session, line):
        if self.refuses and b"@later.test" in line:
            return "451 4.2.2 come back later"
        if self.refuses and b"@never.test" in line:
            return "550 5.1.1 no such user"
        return "250 2.1.5 ok"

    async def content(self, session, content):
        found = NAME.search(content)
        name = found.group().decode() if found else "?"
        self.taken.append((name, session.report))
        return f"250 2.0.0 kept as {'report:' if session.report else ''}{name}"


class Gateway(Process):
    """The program on a data folder, between the clients of this test and a sink."""

    def __init__(self, binary, folder, sink, environment=None, wrapper=()):
        super().__init__("gatepost", folder, own_address(), 2525)
        self.binary, self.environment, self.wrapper = binary, os.environ | (environment or {}), list(wrapper)
        self.data = self.folder / "data"
        (self.folder / "gatepost.toml").write_text(f"""
data = "{self.data}"
settings_file = "{self.folder}/settings.toml"
[listen]
inbound = ["{self.address}:{self.port}"]
[control]
listen = "{self.address}:8025"
""")
        hops = "".join(f'[[domain]]\nname = "{name}.test"\nnext_hops = ["{sink.address}:{sink.port}"]\n'
                       for name in ("now", "later", "never", "sender"))
        (self.folder / "settings.toml").write_text(f"""
hostname = "gw.proof.test"
{hops}
[listener.inbound]
tls = "off"
connections = 200
connections_per_address = 200
messages_per_session = 0
[delivery]
allow_private_addresses = true
[queue]
disk_reserve = "0 MB"
""")

    def command(self):
        return self.wrapper + [self.binary, "run", "--config", self.folder / "gatepost.toml"]

    def ask(self, *words):
        said = subprocess.run([self.binary, *words, "--config", self.folder / "gatepost.toml"], capture_output=True, text=True, timeout=60)
        if said.returncode != 0 and said.stdout.strip() != "[]":
            raise Failed(f"gatepost {' '.join(map(str, words))}: {said.stderr.strip() or said.stdout.strip()}")
        return said.stdout

    def drain(self):
        """Everything that waits is tried, at once, until nothing waits."""
        end = time.monotonic() + DRAIN_S
        while (queued := json.loads(self.ask("status", "--json"))["queued"]) > 0:
            if time.monotonic() > end:
                raise Failed(f"{queued} deliveries still wait after {DRAIN_S} s: {self.ask('queue', 'list')[:600]}")
            self.ask("queue", "retry", "--all")
            time.sleep(0.1)

    def trail(self):
        return {entry["id"] for entry in json.loads(self.ask("audit", "search", "--limit", "100000", "--json"))}


class Load:
    """Clients that send messages with names of their own; `acknowledged` maps the Audit IDs that got a 250 to names."""

    def __init__(self, gateway, label, domains=("now", "later", "never"), clients=4, each=6, sizes=SIZES):
        self.gateway, self.label, self.domains, self.each, self.sizes = gateway, label, domains, each, sizes
        self.acknowledged, self.refused, self.lock, self.stopped = {}, [], threading.Lock(), threading.Event()
        self.threads = [threading.Thread(target=self.client, args=(number,), daemon=True) for number in range(clients)]
        for thread in self.threads:
            thread.start()

    def client(self, number):
        for count in range(self.each):
            if self.stopped.is_set():
                return
            self.send(f"proof-{self.label}-{number}-{count}", self.domains[(number + count) % len(self.domains)], self.sizes[count % len(self.sizes)])

    def send(self, name, domain, size):
        line = b"x" * 70 + b"\r\n"
        content = b"Subject: %s\r\n\r\n" % name.encode() + line * (size // len(line))
        try:
            with smtplib.SMTP(self.gateway.address, self.gateway.port, "client.test", timeout=30) as session:
                session.ehlo_or_helo_if_needed()
                session.mail("a@sender.test")
                code, reply = session.rcpt(f"b@{domain}.test")
                if code == 250:
                    code, reply = session.data(content)
        except smtplib.SMTPResponseException as said:
            code, reply = said.smtp_code, said.smtp_error
        except (OSError, smtplib.SMTPException):
            return  # killed: no reply, no promise
        with self.lock:
            if code == 250:
                self.acknowledged[reply.decode().split("accepted as ")[1].split()[0]] = (name, domain)
            else:
                self.refused.append((name, code, reply))

    def wait(self):
        for thread in self.threads:
            thread.join(120)
        return self


class Lost(Failed):
    pass


def settled(acknowledged, taken, seen=frozenset()):
    """Each acknowledged message is at the next hop, or its sender was told. `seen`: what the recording saw taken."""
    arrived = {name for name, report in taken if not report} | {name for name in seen if not name.startswith("report:")}
    told = {name for name, report in taken if report} | {name[7:] for name in seen if name.startswith("report:")}
    lost = [name for name, domain in acknowledged.values() if name not in arrived and not (domain == "never" and name in told)]
    if lost:
        raise Lost(f"{len(lost)} of {len(acknowledged)} acknowledged messages are lost: {sorted(lost)[:5]}")


def in_trail(gateway, acknowledged):
    # The trail is filled from the spool by and by.
    unknown = lambda: set(acknowledged) - gateway.trail()
    wait(lambda: not unknown(), DRAIN_S, lambda: f"all acknowledged messages are in the audit trail ({sorted(unknown())[:5]} are not)")


def start_again(binary, folder, acknowledged, seen=frozenset(), sink=None):
    """A new start on what is left; nothing may be lost. Gives what arrived."""
    own = sink or Sink(refuses=False)
    gateway = Gateway(binary, folder, own)
    try:
        gateway.start()
        gateway.drain()
        settled(acknowledged, own.taken, seen)
        in_trail(gateway, acknowledged)
        return list(own.taken)
    finally:
        gateway.stop()
        if sink is None:
            own.stop()


# ---- order -------------------------------------------------------------------------------------------------------

CALL = re.compile(r"^(\d+)\s+(?:(\w+)\((.*)|<\.\.\. (\w+) resumed>(.*))$")


def order(world):
    """Between the 354 and the 250 of each message: its segment synced, then the spool's log, both successfully."""
    folder, sink = world.folder("order"), Sink()
    trace = folder / "trace"
    wrapper = ("strace", "-f", "-y", "-s", "256", "-e", "trace=fsync,fdatasync,sendto,sendmsg,write,writev", "-o", trace)
    gateway = Gateway(world.binary, folder, sink, wrapper=wrapper)
    gateway.start()
    load = Load(gateway, "order", clients=1, each=world.pick(9, 90)).wait()
    gateway.stop()
    sink.stop()
    begun, synced, since, count = {}, [], None, 0
    for line in trace.read_text(errors="replace").splitlines():
        if not (found := CALL.match(line)):
            continue
        thread, call, rest = found[1], found[2] or found[4], found[3] if found[2] else found[5]
        if call in ("fsync", "fdatasync"):
            if found[2]:
                begun[thread] = rest
            if "unfinished" not in rest and re.search(r"= 0$", rest):
                synced.append(begun.pop(thread, rest))
        elif found[2] and '"354 ' in rest:
            since = len(synced)
        elif found[2] and "accepted as " in rest:
            if since is None:
                raise Failed("a 250 without a 354 before it")
            files = [re.search(r"<([^>]*)>", sync)[1].rsplit("/", 1)[-1] for sync in synced[since:]]
            if "spool.db-wal" not in files:
                raise Failed(f"message {count}: 250 without a sync of the spool; synced: {files}")
            size = SIZES[count % len(SIZES)]
            if size > SIZES[0] and not any(file.endswith(".seg") for file in files[:len(files) - files[::-1].index("spool.db-wal")]):
                raise Failed(f"message {count} of {size} octets: its segment was not synced before the spool; synced: {files}")
            count, since = count + 1, None
    if count != len(load.acknowledged) or count == 0:
        raise Failed(f"{count} of {len(load.acknowledged)} acknowledgements were seen in the trace")
    return f"{count} acknowledgements, each after the sync of what it speaks of"


# ---- kill --------------------------------------------------------------------------------------------------------

def kill(world):
    """SIGKILL under load, again and again on one folder."""
    folder, sink = world.folder("kill"), Sink()
    rounds, acknowledged, chance = world.pick(12, 400), {}, world.chance("kill")
    gateway = Gateway(world.binary, folder, sink)
    for number in range(rounds):
        gateway.start()
        load = Load(gateway, f"k{number}", clients=8, each=1000, sizes=(300, 300, 300, 40_000, 300, 1_500_000))
        time.sleep(chance.uniform(0.02, 0.6))
        gateway.kill()
        load.stopped.set()
        acknowledged.update(load.wait().acknowledged)
        world.progress(number + 1, rounds)
    sink.refuses = False
    gateway.start()
    gateway.drain()
    settled(acknowledged, sink.taken)
    in_trail(gateway, acknowledged)
    copies = collections.Counter(sink.taken)
    again = [name for (name, report), times in copies.items() if times > 1 and not report]
    ids = {name: id_ for id_, (name, _) in acknowledged.items()}
    for name in again:
        # Sent again only what it did not know to be delivered: a delivery is recorded once, with the message's removal.
        events = [] if name not in ids else json.loads(gateway.ask("audit", "show", ids[name], "--json"))
        recorded = [event for event in events if event["event"] == "delivered"]
        if len(recorded) > 1:
            raise Failed(f"{name} was recorded as delivered {len(recorded)} times")
    gateway.stop()
    sink.stop()
    return f"{rounds} kills, {len(acknowledged)} acknowledged, none lost; {len(again)} delivered again, each because its final reply was not recorded when the kill came"


# ---- faults ------------------------------------------------------------------------------------------------------

def faults(world):
    counted = world.folder("faults") / "counted"
    base = {"LD_PRELOAD": str(world.shim), "DISK_COUNTED": str(counted)}
    total, started = one_fault(world, "count", base, None)
    chance = world.chance("faults")
    points = [(at, code, half) for at in range(total) for code in ERRORS for half in (0, 1)]
    points = points if world.long else chance.sample(points, min(20, len(points)))
    bursts = [(at, 10 ** 9, code, 1) for code in ERRORS for at in chance.sample(range(started, total), world.pick(1, 20))]
    jobs = [(at, 1, code, half) for at, code, half in points] + bursts
    refused = world.each(jobs, lambda number, job: one_fault(world, number, base, job))
    return f"{len(jobs)} faults over {total} changes of the disk ({started} of them while starting): none lost; {sum(refused)} messages were put off with 4xx"


def one_fault(world, number, base, job):
    folder, sink = world.folder(f"fault-{number}"), Sink()
    environment = base | {"DISK_FOLDER": str(folder / "data"), "DISK_COUNTED": str(folder / "counted")}
    if job:
        environment["DISK_FAIL"] = " ".join(map(str, job))
    gateway = Gateway(world.binary, folder, sink, environment)
    count = lambda: int.from_bytes((folder / "counted").read_bytes(), sys.byteorder)
    try:
        try:
            gateway.start()
        except Failed as failed:
            words = (folder / "output").read_text(errors="replace")
            if job is None or "gatepost:" not in words or "panicked" in words:
                raise Failed(f"fault {job}: {failed}")
            start_again(world.binary, folder, {})
            return 0
        started = count()
        load = Load(gateway, f"f{number}", clients=3, each=3).wait()
        if gateway.child.poll() is not None:
            raise Failed(f"fault {job}: the gateway ended: {gateway.last_words()}")
        for name, code, reply in load.refused:
            if code // 100 != 4:
                raise Failed(f"fault {job}: {name} got {code} {reply.decode()}")
        if "panicked" in (folder / "output").read_text(errors="replace"):
            raise Failed(f"fault {job}: {gateway.last_words()}")
        if job is None or job[1] == 1:
            one = Load(gateway, f"g{number}", clients=1, each=1).wait()
            if not one.acknowledged:  # the fault may have waited for this one
                one = Load(gateway, f"h{number}", clients=1, each=1).wait()
            if not one.acknowledged:
                raise Failed(f"fault {job}: the disk works again, and mail is still refused: {one.refused}")
            load.acknowledged.update(one.acknowledged)
        total = count()
        gateway.stop()
        before = list(sink.taken)
        again = Sink(refuses=False)
        try:
            start_again(world.binary, folder, load.acknowledged, {("report:" if report else "") + name for name, report in before}, again)
        except Failed as failed:
            raise Failed(f"fault {job}: {failed}")
        finally:
            again.stop()
        return (total, started) if job is None else len(load.refused)
    finally:
        gateway.stop()
        sink.stop()
        world.forget(folder)


# ---- power -------------------------------------------------------------------------------------------------------

def power(world):
    folder, sink = world.folder("power"), Sink()
    log = folder / "recording"
    environment = {"LD_PRELOAD": str(world.shim), "DISK_FOLDER": str(folder / "data"), "DISK_LOG": str(log)}
    gateway = Gateway(world.binary, folder, sink, environment)
    gateway.start()
    load = Load(gateway, "p", clients=4, each=world.pick(5, 12)).wait()
    wait(lambda: sum(not report for _, report in sink.taken) >= len([1 for _, domain in load.acknowledged.values() if domain == "now"]), 30, "what can be delivered is")
    gateway.stop()
    sink.stop()
    records = recording.read(log)
    promised = {record.data.decode() for record in records if record.kind == recording.PROMISED}
    if not set(load.acknowledged) <= promised or not any(record.kind == recording.TAKEN for record in records):
        raise Failed("the recording lacks what clients and next hop were told")
    chance = world.chance("power")
    # The moments that matter are around syncs and acknowledgements.
    sharp = [at for at, record in enumerate(records) if record.kind in (recording.SYNC, recording.SYNCED, recording.FOLDER_SYNCED, recording.PROMISED)]
    points = range(1, len(records) + 1) if world.long else sorted(set(chance.sample(sharp, min(24, len(sharp)))) | set(chance.sample(range(1, len(records)), 12)))
    jobs = [(at, way) for at in points for way in recording.WAYS]
    world.each(jobs, lambda number, job: one_cut(world, number, job, records, load.acknowledged))
    return f"{len(jobs)} power cuts at {len(points)} of {len(records)} points of a run with {len(load.acknowledged)} acknowledged messages: none lost"


def one_cut(world, number, job, records, acknowledged):
    at, way = job
    folder, disk = world.folder(f"cut-{number}"), recording.Disk()
    for record in records[:at]:
        disk.apply(record)
    marks = lambda kind: {record.data.decode() for record in records[:at] if record.kind == kind}
    promised = {id_: acknowledged[id_] for id_ in marks(recording.PROMISED) if id_ in acknowledged}
    disk.build(folder / "data", way, world.chance(f"cut {at} {way}"))
    try:
        start_again(world.binary, folder, promised, marks(recording.TAKEN))
    except Failed as failed:
        raise Failed(f"power cut after record {at} of {len(records)}, what no sync covered {way} (seed {world.seed}): {failed}")
    world.forget(folder)


# ---- the run -----------------------------------------------------------------------------------------------------

class World:
    def __init__(self, binary, folder, long, seed, keep, shim):
        self.binary, self.root, self.long, self.seed, self.keep, self.shim = binary, folder, long, seed, keep, shim

    def pick(self, short, long):
        return long if self.long else short

    def chance(self, what):
        return random.Random(f"{self.seed} {what}")

    def folder(self, name):
        folder = self.root / name
        folder.mkdir(exist_ok=True)
        return folder

    def forget(self, folder):
        if not self.keep:
            shutil.rmtree(folder, ignore_errors=True)

    def progress(self, done, total):
        if sys.stderr.isatty() or done % 500 == 0:
            print(f"\r  {done} of {total}", end="" if sys.stderr.isatty() else "\n", file=sys.stderr, flush=True)

    def each(self, jobs, one):
        """All jobs, a few at a time; the first failure ends it."""
        results = []
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            started = [pool.submit(one, number, job) for number, job in enumerate(jobs)]
            try:
                for done, future in enumerate(started, 1):
                    results.append(future.result())
                    self.progress(done, len(jobs))
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        return results


def report(page, seed, results, made_by="proof"):
    """The figures, between the two marks of the page."""
    begin, end = f"<!-- make {made_by}: begin -->", f"<!-- make {made_by}: end -->"
    before, rest = page.read_text().split(begin)
    kernel, made = os.uname().release.split("-")[0], time.strftime("%Y-%m-%d")
    lines = "".join(f"| {name} | {said} |\n" for name, said in results.items())
    page.write_text(f"{before}{begin}\nMeasured {made} with `make {made_by}`, Linux {kernel}, seed {seed}.\n\n| | |\n|---|---|\n{lines}{end}{rest.split(end)[1]}")


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("binary", nargs="?", default="target/debug/gatepost", type=Path)
    words.add_argument("--long", action="store_true")
    words.add_argument("--only", action="append", choices=["order", "kill", "faults", "power"])
    words.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    words.add_argument("--report", type=Path, help="write the figures between the marks of this page")
    words.add_argument("--keep", action="store_true", help="leave the folders")
    said = words.parse_args()
    binary, root = said.binary.resolve(), Path(tempfile.mkdtemp(prefix="gatepost-proof-"))
    if not binary.exists():
        sys.exit(f"{binary} is not there: cargo build -p gateway")
    shim = root / "disk.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", shim, HERE / "disk.c", "-ldl", "-lpthread"], check=True)
    world = World(binary, root, said.long, said.seed, said.keep, shim)
    print(f"seed {said.seed}", flush=True)
    failed, results = 0, {}
    for check in (order, kill, faults, power):
        if said.only and check.__name__ not in said.only:
            continue
        began = time.monotonic()
        try:
            results[check.__name__] = check(world)
            print(f"ok {check.__name__} ({time.monotonic() - began:.0f} s): {results[check.__name__]}", flush=True)
        except Failed as reason:
            failed += 1
            print(f"FAIL {check.__name__}: {reason}", flush=True)
    if said.report and not failed:
        report(said.report, said.seed, results)
    if failed == 0 and not said.keep:
        shutil.rmtree(root, ignore_errors=True)
    else:
        print(f"left in {root}")
    print(f"{len(results)} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
