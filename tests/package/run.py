#!/usr/bin/env python3
"""The Debian package as administrators meet it: built twice, installed on a machine of its own (machine.py), started by systemd with the
unit that it brings, mail through ports 25 and 587, upgraded, removed, purged.

  run.py [PROGRAM] [--keep]

PROGRAM is what goes into the package (default: target/debug/gatepost). Needs root and tools/setup.sh. The steps follow on each other;
the first that fails ends the run. --keep leaves the packages in target/package.
"""
import argparse, json, os, re, smtplib, subprocess, sys, tempfile, time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "packaging"), str(ROOT / "tests/peers")]
import deb  # noqa: E402
import machine as machines  # noqa: E402
import peers  # noqa: E402
from machine import Failed  # noqa: E402

# What `systemd-analyze security` may give at most (0 is a sealed box, 10 no protection). AF_INET and port 25 cost what is left.
EXPOSURE_MAX = 2.0
STEPS = []
SETTINGS = """hostname = "gw.corp.test"
postmaster = "postmaster@corp.test"
[[domain]]
name = "corp.test"
next_hops = ["{sink}"]
"""


def step(function):
    STEPS.append((function.__name__.replace("_", "-"), function))
    return function


class World:
    def __init__(self, program, folder):
        self.program, self.folder, self.machine, self.sink = program, folder, machines.Machine(), machines.NextHop()

    def install(self, package):
        (self.machine.path("/tmp/gatepost.deb")).write_bytes(package.read_bytes())
        return self.machine.run("dpkg", "--install", "--force-confold", "/tmp/gatepost.deb")

    def gatepost(self, *words, **more):
        """As the gateway's user; which gatepost.toml is found without --config."""
        return self.machine.run("setpriv", "--reuid=gatepost", "--regid=gatepost", "--clear-groups", "--reset-env", "gatepost", *words, **more)

    def apply(self, more=""):
        """The settings, with more in front."""
        self.machine.path("/tmp/settings.toml").write_text(more + SETTINGS.format(sink=f"{self.sink.address}:{self.sink.port}"))
        self.gatepost("settings", "apply", "/tmp/settings.toml")

    def owner(self, name):
        return self.machine.run("stat", "--format=%U:%G %a", name).strip()

    def send(self, subject, port=25, to="user@corp.test"):
        with smtplib.SMTP("127.0.0.1", port, "client.test", timeout=60) as client:
            client.sendmail("you@client.test", [to], f"Subject: {subject}\r\nTo: {to}\r\n\r\nA message.\r\n")

    def property(self, name, unit="gatepost.service"):
        return self.machine.run("systemctl", "show", "--value", f"--property={name}", unit).strip()

    def process(self):
        """/proc/PID/status of the running service, as names and values."""
        text = self.machine.run("cat", f"/proc/{self.property('MainPID')}/status")
        return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def expect(condition, what):
    if not condition:
        raise Failed(what() if callable(what) else what)


@step
def two_builds_are_the_same(world):
    first, again = (deb.build(world.program, world.folder / name, quick=True) for name in ("first", "again"))
    expect(first.read_bytes() == again.read_bytes(), "two packages of one program differ")
    world.package = first
    world.newer = deb.build(world.program, world.folder, version=deb.version() + "+upgrade", quick=True)


@step
def lintian_has_no_errors(world):
    ran = subprocess.run(["lintian", "--allow-root", "--fail-on", "error", "--no-tag-display-limit", world.package], capture_output=True, text=True, timeout=900)
    expect(ran.returncode == 0, f"lintian: {(ran.stdout + ran.stderr).strip()}")


@step
def it_installs_and_starts_nothing(world):
    world.machine.boot()
    world.install(world.package)
    expect(world.property("ActiveState") == "inactive", "the package started the gateway")
    for name, wanted in (("/var/lib/gatepost", "gatepost:gatepost 700"), ("/etc/gatepost/gatepost.toml", "root:gatepost 640"),
                         ("/etc/gatepost/settings.toml", "root:gatepost 640"), ("/usr/bin/gatepost", "root:root 755")):
        expect(world.owner(name) == wanted, lambda: f"{name} is {world.owner(name)}, not {wanted}")
    world.gatepost("check")
    world.gatepost("settings", "check", "/etc/gatepost/settings.toml")
    expect("gatepost queue reroute" in world.machine.run("zcat", "/usr/share/man/man8/gatepost-queue-reroute.8.gz").replace("\\-", "-"), "no manual page")
    bill = json.loads(world.machine.run("zcat", "/usr/share/doc/gatepost/sbom.cdx.json.gz"))
    expect({"rustls", "sqlite", "aws-lc"} <= {part["name"] for part in bill["components"]}, "the bill of materials is not whole")


@step
def the_unit_is_good_and_tight(world):
    world.machine.run("systemd-analyze", "verify", "/usr/lib/systemd/system/gatepost.service")
    said = world.machine.run("systemd-analyze", "security", "--no-pager", f"--threshold={int(EXPOSURE_MAX * 10)}", "gatepost.service", ok=False)
    level = re.search(r"exposure level for \S+: ([\d.]+)", said)
    expect(level and float(level[1]) <= EXPOSURE_MAX, lambda: f"exposure {level and level[1]}: {said[-3000:]}")


@step
def it_delivers_as_its_own_user(world):
    config = world.machine.path("/etc/gatepost/gatepost.toml")
    text = config.read_text()
    config.write_text(text.replace('# submission = ["0.0.0.0:587", "[::]:587"]', 'submission = ["0.0.0.0:587", "[::]:587"]'))
    expect(config.read_text() != text, "gatepost.toml has no line for the submission listener")
    world.apply()
    world.machine.run("systemctl", "enable", "--now", "gatepost")
    world.send("first")  # at once: the unit is up when the program says so
    world.sink.arrived("first")
    expect(peers.banner("127.0.0.1", 587), "no greeting on port 587")
    process = world.process()
    uid = process["Uid"].split()
    expect("0" not in uid and len(set(uid)) == 1, f"it runs as {uid}")
    expect(int(process["CapEff"], 16) == 1 << 10, f"capabilities {process['CapEff']}, not net_bind_service alone")
    expect("in force: files, system calls" in world.gatepost("status"), lambda: f"the program's own sandbox: {world.gatepost('status')}")
    expect((process["NoNewPrivs"].strip(), process["Seccomp"].strip()) == ("1", "2"), f"{process['NoNewPrivs']} {process['Seccomp']}")
    expect("queued" in world.gatepost("status"), "no status")
    expect(subprocess.run(["curl", "-sf", "http://127.0.0.1:8025/healthz"], capture_output=True).returncode == 0, "/healthz is not 200")


@step
def an_upgrade_keeps_mail_and_changes(world):
    world.apply('mode = "pause-delivery"\n')
    world.send("waits")
    before = world.property("MainPID")
    world.install(world.newer)
    expect("587" in re.sub(r"(?m)^#.*", "", world.machine.path("/etc/gatepost/gatepost.toml").read_text()), "the upgrade lost a change of gatepost.toml")
    expect(world.property("ActiveState") == "active" and world.property("MainPID") != before, "the upgrade did not restart what ran")
    world.apply()
    world.sink.arrived("waits")
    world.install(world.newer)  # over itself
    expect(peers.banner("127.0.0.1", 25), "no greeting after the second upgrade")


@step
def systemd_may_open_the_sockets_and_no_privilege_is_left(world):
    """A restart then refuses nobody: who connects meanwhile waits."""
    config = world.machine.path("/etc/gatepost/gatepost.toml")
    config.write_text("".join(line for line in config.read_text().splitlines(True) if not line.startswith(("inbound", "submission", "listen ="))))
    extra = world.machine.path("/etc/systemd/system/gatepost.service.d/sockets.conf")
    extra.parent.mkdir()
    extra.write_text("[Service]\nAmbientCapabilities=\nCapabilityBoundingSet=\n")
    world.machine.run("systemctl", "daemon-reload")
    world.machine.run("systemctl", "stop", "gatepost")
    sockets = [f"gatepost-{name}.socket" for name in ("inbound", "submission", "control")]
    world.machine.run("systemd-analyze", "verify", *(f"/usr/lib/systemd/system/{name}" for name in sockets))
    world.machine.run("systemctl", "enable", "--now", *sockets)
    world.send("by-socket")  # starts the gateway
    world.sink.arrived("by-socket")
    expect(int(world.process()["CapEff"], 16) == 0, lambda: f"capabilities {world.process()['CapEff']}")
    expect(peers.banner("127.0.0.1", 587), "no greeting on port 587")
    before = world.property("MainPID")
    world.machine.run("systemctl", "--no-block", "restart", "gatepost")
    for number in range(5):
        world.send(f"while-it-restarts-{number}")
    peers.wait(lambda: world.property("MainPID") not in (before, "0"), 60, "the restart")
    for number in range(5):
        world.sink.arrived(f"while-it-restarts-{number}")
    (extra.unlink(), extra.parent.rmdir())


@step
def remove_keeps_mail_and_purge_does_not(world):
    world.machine.run("dpkg", "--remove", "gatepost")
    expect(not peers.banner("127.0.0.1", 25), "it still runs")
    expect(not world.machine.path("/usr/bin/gatepost").exists(), "the program is still there")
    expect(world.machine.path("/var/lib/gatepost/spool.db").exists(), "mail went with remove")
    expect(world.machine.path("/etc/gatepost/gatepost.toml").exists(), "settings went with remove")
    world.machine.run("dpkg", "--purge", "gatepost")
    left = [str(file.relative_to(world.machine.changed)) for file in world.machine.changed.rglob("*gatepost*")
            if not file.is_char_device() and file.name != "gatepost.deb" and "var/cache" not in str(file)]
    expect(not left, f"left after purge: {left}")


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("program", type=Path, nargs="?", default=ROOT / "target/debug/gatepost")
    parser.add_argument("--keep", action="store_true")
    asked = parser.parse_args()
    machines.enter()
    os.umask(0o022)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gatepost-package-") as folder:
        world = World(asked.program, ROOT / "target/package" if asked.keep else Path(folder))
        try:
            for name, run in STEPS:
                try:
                    run(world)
                except (Failed, OSError, smtplib.SMTPException, subprocess.SubprocessError) as error:
                    state = world.machine.run("systemctl", "status", "--no-pager", "-n", "20", "gatepost", ok=False)
                    sys.exit(f"FAIL {name}: {error}\n{state}")
                print("ok", name, flush=True)
        finally:
            world.machine.remove()
    print(f"{len(STEPS)} checks, 0 failed, {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
