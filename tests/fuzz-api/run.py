#!/usr/bin/env python3
"""Whatever is sent to the API, it answers, and to nobody more than their role may have.

  run.py [GATEPOST] [--seconds N] [--keep]

The real program, asked by schemathesis with the API's own description (/api/v1/openapi.json), once in each role; then every
operation as nobody and in every role. No answer may be a 5xx, none may open what the role must not see. Needs tools/setup.sh.
Prints one line a check; the last line counts them.
"""
import argparse, json, os, re, shutil, signal, socket, subprocess, sys, tempfile, time, urllib.error, urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "gatepost-tests"
SCHEMATHESIS = CACHE / "fuzz/bin/schemathesis"
# Asked by POST because a document is sent along; they change nothing.
QUESTIONS = {"/api/v1/settings/check"}
ROLES = ("full", "operator", "read-only", "help-desk")
# What strangers may ask.
OPEN = {"/healthz", "/metrics"}
METHODS = ("get", "post", "put", "patch", "delete")


def free_port():
    for port in range(19000 + os.getpid() % 900, 19999):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    sys.exit("no free port")


class Gateway:
    def __init__(self, binary, folder):
        self.binary, self.folder = binary, folder
        control, inbound = free_port(), free_port() + 1
        self.base, self.config = f"http://127.0.0.1:{control}", folder / "gatepost.toml"
        self.config.write_text(f'data = "data"\n[listen]\ninbound = ["127.0.0.1:{inbound}"]\n[control]\nlisten = "127.0.0.1:{control}"\n')
        settings = folder / "settings.toml"
        # Nothing answers on port 9, so that no question leaves this machine.
        settings.write_text('hostname = "gw.corp.test"\n[dns]\nservers = ["127.0.0.1:9"]\ntimeout = "1s"\n[[domain]]\nname = "corp.test"\nnext_hops = ["127.0.0.1:9"]\n')
        self.run("settings", "apply", str(settings))
        self.child = subprocess.Popen([binary, "run", "--config", str(self.config)], cwd=folder, stdin=subprocess.DEVNULL,
                                      stdout=open(folder / "output", "ab"), stderr=subprocess.STDOUT, start_new_session=True)
        end = time.monotonic() + 30
        while self.ask("get", "/healthz")[0] != 200:
            if time.monotonic() > end or self.child.poll() is not None:
                sys.exit("the gateway does not answer: " + (folder / "output").read_text()[-500:])
            time.sleep(0.05)
        self.tokens = {role: self.run("admin", "token", role, "--role", role).strip() for role in ROLES}

    def run(self, *arguments):
        said = subprocess.run([self.binary, "--config", str(self.config), *arguments], capture_output=True, text=True, timeout=60)
        if said.returncode:
            sys.exit(f"gatepost {' '.join(arguments)}: {said.stdout}{said.stderr}")
        return said.stdout

    def ask(self, method, path, token=None):
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        data = None if method == "get" else b"{}"
        request = urllib.request.Request(self.base + path, data, headers, method=method.upper())
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError:
            return 0, b""

    def stop(self):
        self.child.send_signal(signal.SIGTERM)
        try:
            self.child.wait(40)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


def operations(gateway):
    document = json.loads(gateway.ask("get", "/api/v1/openapi.json")[1])
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield method, re.sub(r"\{\w+\}", "1", path.replace("{id}", "38GJ3X6RR0000"))


def across(gateway):
    """Problems with who gets what: a lesser role never gets what a greater one is refused, a stranger nothing."""
    wrong = []
    for method, path in operations(gateway):
        if path in OPEN:
            continue
        codes = {role: gateway.ask(method, path, token)[0] for role, token in [("nobody", None), ("wrong", "gp_" + "0" * 64), *gateway.tokens.items()]}
        for stranger in ("nobody", "wrong"):
            if codes[stranger] != 401:
                wrong.append(f"{method} {path} answers {codes[stranger]} to {stranger}")
        refused = [codes[role] == 403 for role in ROLES]
        if refused != sorted(refused):
            wrong.append(f"{method} {path} is refused to a greater role and not to a lesser: {codes}")
        if method != "get" and path not in QUESTIONS and not (refused[2] and refused[3]):
            readers = [codes[role] for role in ROLES[2:]]
            if any(200 <= code < 300 for code in readers):
                wrong.append(f"{method} {path} answers {readers} to readers")
    return wrong


def fuzz(gateway, role, seconds):
    # One worker: with two, Python 3.11 now and then takes the depth of one thread's parser for the other's, and the fuzzer ends with an
    # error of its own ("AST constructor recursion depth mismatch").
    command = [str(SCHEMATHESIS), "run", f"{gateway.base}/api/v1/openapi.json", "--header", f"Authorization: Bearer {gateway.tokens[role]}",
               "--checks", "not_a_server_error", "--phases", "examples,coverage,fuzzing", "--max-examples", "1000", "--max-time", str(seconds), "--workers", "1",
               "--request-timeout", "60", "--warnings", "off", "--suppress-health-check", "all", "--seed", "1"]
    said = subprocess.run(command, capture_output=True, text=True, cwd=gateway.folder, timeout=seconds * 2 + 60,
                          env=os.environ | {"SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(HERE), "PYTHONDONTWRITEBYTECODE": "1"})
    alive = gateway.child.poll() is None and gateway.ask("get", "/healthz")[0] in (200, 503)
    if said.returncode or not alive:
        return [("" if alive else "the gateway has ended; ") + (said.stdout + said.stderr)[-3000:]]
    return []


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gatepost", nargs="?", default=str(ROOT / "target/debug/gatepost"))
    parser.add_argument("--seconds", type=int, default=60, help="for each role")
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    if not SCHEMATHESIS.exists():
        sys.exit(f"{SCHEMATHESIS} is missing: tools/setup.sh")
    folder, started, failed = Path(tempfile.mkdtemp(prefix="gatepost-fuzz-")), time.monotonic(), 0
    gateway = Gateway(str(Path(options.gatepost).resolve()), folder)
    checks = [("no-role-gets-what-a-greater-one-is-refused", lambda: across(gateway))]
    checks += [(f"no-question-of-a-{role}-token-breaks-it", lambda role=role: fuzz(gateway, role, options.seconds)) for role in ROLES]
    try:
        for name, check in checks:
            begun = time.monotonic()
            wrong = check()
            failed += bool(wrong)
            print(f"FAIL {name} " + "; ".join(wrong) if wrong else f"ok {name} ({time.monotonic() - begun:.1f} s)", flush=True)
    finally:
        gateway.stop()
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"fuzz-api: {len(checks) - failed} of {len(checks)} checks passed in {time.monotonic() - started:.0f} s")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
