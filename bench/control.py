#!/usr/bin/env python3
"""How long the Control Center's pages take over a long queue.

    bench/control.py GATEPOST DATA

DATA is a data folder, such as `cargo run --example pages` fills. The gateway runs on it with delivery paused; each page is
asked five times, and the first and the median of the others are printed in milliseconds.
"""

import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

PAGES = [
    "/",
    "/queue",
    "/queue?by=domain",
    "/queue?by=message",
    "/queue?by=message&sort=newest",
    "/queue?by=message&sort=next",
    "/queue?by=message&sort=attempts",
    "/queue?by=message&sort=largest",
    "/queue?by=message&domain=d0.test",
    "/queue?by=message&domain=d77.test&sort=next",
    "/queue?by=message&cause=peer.greylist",
    "/queue?by=message&held=yes",
    "/queue?by=message&text=no+such+words",
    "/destinations",
    "/destinations/d77.test",
    "/explain",
    "/explain?q=450+4.7.1+greylisted",
    "/logs",
]


def free():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main():
    program, data = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        host, control = Path(folder) / "gatepost.toml", free()
        (Path(folder) / "settings.toml").write_text('hostname = "gw.corp.test"\nmode = "pause-delivery"\n')
        host.write_text(
            f'data = "{data}"\nsettings_file = "settings.toml"\n[listen]\ninbound = ["127.0.0.1:{free()}"]\n'
            f'[control]\nlisten = "127.0.0.1:{control}"\n'
        )
        gateway = subprocess.Popen([str(program), "run", "--config", str(host)], stdout=subprocess.DEVNULL)
        try:
            run(gateway, program, host, control)
        finally:
            gateway.terminate()
            gateway.wait()


def run(gateway, program, host, control):
    def command(*words):
        return subprocess.run([str(program), *words, "--config", str(host)], capture_output=True, text=True)

    while command("status").returncode != 0:
        if gateway.poll() is not None:
            sys.exit("the gateway ended at once")
        time.sleep(0.2)
    made = command("admin", "token", f"bench-{control}", "--role", "full")
    if made.returncode != 0:
        sys.exit(made.stdout + made.stderr)
    token = made.stdout.split()[-1]
    print(json.loads(command("status", "--json").stdout).get("queued"), "queued")
    for page in PAGES:
        times = []
        for _ in range(6):
            request = urllib.request.Request(f"http://127.0.0.1:{control}{page}", headers={"Authorization": f"Bearer {token}"})
            began = time.perf_counter()
            with urllib.request.urlopen(request, timeout=60) as answer:
                answer.read()
            times.append((time.perf_counter() - began) * 1000)
        print(f"{page:55} first {times[0]:8.1f} ms, then {statistics.median(times[1:]):8.1f} ms")


main()
