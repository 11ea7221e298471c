#!/usr/bin/env python3
"""packaging/Containerfile without a container engine: its steps are read and carried out here, as far as that goes.

  container.py [PROGRAM]

The first stage is not built: each of its COPY sources must exist, its cargo line must build what the second stage copies, and PROGRAM
(default: target/debug/gatepost) stands for the result. The last stage's RUN, COPY, USER and VOLUME are carried out above this host's
files (machine.py), but for apt-get: without a network, the packages that it names must be installed here. Then ENTRYPOINT and CMD run
as that user, without capabilities, on a read-only root, and take, deliver and stop as they should. Needs root and tools/setup.sh.
"""
import json, os, re, shlex, shutil, signal, smtplib, subprocess, sys, time, tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tests/peers"))
import machine as machines  # noqa: E402
import peers  # noqa: E402
from machine import Failed  # noqa: E402

FILE = ROOT / "packaging/Containerfile"
SETTINGS = """hostname = "gw.corp.test"
[[domain]]
name = "corp.test"
next_hops = ["{sink}"]
"""
# Carries out nothing, but fails for a package that is not here.
APT = """#!/bin/sh
[ "$1" = update ] && exit 0
[ "$1" = install ] || { echo "apt-get $1 is not known here" >&2; exit 1; }
shift
for package in "$@"; do case $package in -*) ;; *) dpkg --status "$package" >/dev/null || exit 1 ;; esac; done
"""


def stages(text):
    """[(name, [(instruction, rest)])]: lines that end in a backslash go on; comments and empty lines are left out."""
    found = []
    for line in re.sub(r"\\\n", " ", text).splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            found.append((rest.split(" AS ")[1] if " AS " in rest else "", []))
        elif not found:
            raise Failed(f"{word} before FROM")
        found[-1][1].append((word, rest.strip()))
    return found


class Image:
    def __init__(self, program):
        self.program, self.machine = program, machines.Machine()
        self.user, self.volumes, self.entry, self.command, self.health, self.stop, self.ports = None, [], [], [], [], "SIGTERM", set()
        (self.machine.path("/usr/local/bin/apt-get")).write_text(APT)
        self.machine.path("/usr/local/bin/apt-get").chmod(0o755)

    def built(self, steps):
        """The stage that compiles: what can be checked of it. What it makes."""
        made, there = set(), set()
        for word, rest in steps:
            if word == "COPY":
                there |= set(self.sources(rest)[0])
            elif word == "RUN" and rest.startswith("cargo"):
                words = shlex.split(rest)
                if "--locked" not in words or words[words.index("-p") + 1] != "gateway":
                    raise Failed(f"not a locked build of the gateway: {rest}")
                profile = words[words.index("--profile") + 1] if "--profile" in words else "release" if "--release" in words else "debug"
                made.add(f"/src/target/{profile}/gatepost")
        # What cargo asks for before it builds anything.
        members = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["members"]
        wanted = {"Cargo.toml", "Cargo.lock", ".cargo", *(member.split("/")[0] for member in members)}
        if wanted - there:
            raise Failed(f"cargo also needs {sorted(wanted - there)}")
        return made

    def sources(self, rest):
        *given, target = shlex.split(rest)
        given = [name for name in given if not name.startswith("--")]
        for name in given:
            if not rest.startswith("--from") and not (ROOT / name).exists():
                raise Failed(f"COPY {name}: there is no such file")
        return given, target

    def apply(self, word, rest, made):
        if word == "RUN":
            self.machine.run("/bin/sh", "-c", rest)
        elif word == "COPY":
            given, target = self.sources(rest)
            if rest.startswith("--from") and set(given) - made:
                raise Failed(f"the stage before makes no {given}")
            for name in given:
                place = self.machine.path(target + (name if target.endswith("/") else ""))
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(self.program if rest.startswith("--from") else ROOT / name, place)
        elif word == "USER":
            self.user = rest.split(":")
        elif word == "VOLUME":
            self.volumes.append(rest)
        elif word == "EXPOSE":
            self.ports = {int(port) for port in rest.split()}
        elif word == "STOPSIGNAL":
            self.stop = rest
        elif word == "HEALTHCHECK":
            self.health = json.loads(rest[rest.index("CMD ") + 4:])
        elif word == "ENTRYPOINT":
            self.entry = json.loads(rest)
        elif word == "CMD":
            self.command = json.loads(rest)
        elif word != "FROM":
            raise Failed(f"{word} is not known here")

    def seal(self):
        """What an engine does before it starts the image with read_only: volumes with what the image has there, all else closed."""
        for volume in self.volumes:
            about = self.machine.path(volume).stat()
            machines.mount("-t", "tmpfs", "-o", f"uid={about.st_uid},gid={about.st_gid},mode={about.st_mode & 0o7777:o}", "volume", self.machine.path(volume))
        machines.mount("-o", "remount,ro", self.machine.root)

    def start(self, words, **more):
        user, group = self.user
        confined = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
        return subprocess.Popen(["chroot", str(self.machine.root), *confined, *words], stdin=subprocess.DEVNULL, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, **more)

    def ran(self, words):
        child = self.start(words)
        said, _ = child.communicate(timeout=60)
        return child.returncode, said


def check(program):
    *before, (_, steps) = stages(FILE.read_text())
    image, sink = Image(program), machines.NextHop()
    child = None
    try:
        made = set().union(*(image.built(stage) for _, stage in before))
        for word, rest in steps:
            image.apply(word, rest, made)
        if not image.user or image.user[0] in ("0", "root") or not image.volumes:
            raise Failed("the image runs as root, or has no volume")
        print("ok its-steps-can-be-carried-out")
        image.seal()
        settings = image.machine.path("/tmp/settings.toml")
        settings.write_text(SETTINGS.format(sink=f"{sink.address}:{sink.port}"))
        code, said = image.ran([*image.entry, "settings", "apply", "/tmp/settings.toml"])
        if code:
            raise Failed(f"settings apply: {said}")
        child = image.start([*image.entry, *image.command])
        peers.wait(lambda: child.poll() is not None or peers.banner("127.0.0.1", 2525), 60, "the greeting")
        with smtplib.SMTP("127.0.0.1", 2525, "client.test", timeout=60) as client:
            client.sendmail("you@client.test", ["user@corp.test"], "Subject: contained\r\n\r\nA message.\r\n")
        sink.arrived("contained")
        print("ok it-delivers-without-privileges-on-a-read-only-root")
        listening = {int(line.split()[3].rsplit(":", 1)[1]) for line in
                     subprocess.run(["ss", "-Htln"], capture_output=True, text=True, check=True).stdout.splitlines()} - {sink.port}
        if listening != image.ports:
            raise Failed(f"EXPOSE says {sorted(image.ports)}, it listens on {sorted(listening)}")
        code, said = image.ran(image.health)
        if code or "in force: files, system calls" not in said:
            raise Failed(f"HEALTHCHECK ended with {code}: {said}")
        child.send_signal(getattr(signal, image.stop))
        child.wait(45)
        if child.returncode or image.ran(image.health)[0] == 0:
            raise Failed(f"{image.stop}: it ended with {child.returncode}, or is healthy after its end")
        print("ok its-health-and-its-stop-are-as-it-says")
        published = {int(port) for port in re.findall(r'^ +- "(?:[\d.]+:)?\d+:(\d+)"$', (ROOT / "packaging/compose.yaml").read_text(), re.M)}
        if not published or published - image.ports:
            raise Failed(f"compose.yaml publishes {sorted(published)}, the image has {sorted(image.ports)}")
        print("ok compose-publishes-what-is-there")
    finally:
        if child and child.poll() is None:
            child.kill()
        image.machine.remove()


def main():
    program = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "target/debug/gatepost"
    machines.enter()
    os.umask(0o022)
    started = time.monotonic()
    try:
        check(program)
    except (Failed, OSError, smtplib.SMTPException, subprocess.SubprocessError) as error:
        sys.exit(f"FAIL container: {error}")
    print(f"4 checks, 0 failed, {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
