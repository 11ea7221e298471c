#!/bin/bash
# Writes docs/book/reference-settings.md, reference-statuses.md and reference-findings.md from what the program says of
# itself.
#
#   tools/reference.sh [--check] [GATEPOST]     GATEPOST: the binary; target/debug/gatepost if left out
#
# With --check nothing is written; exit code 1 and a diff say what is out of date.
set -euo pipefail
cd "$(dirname "$0")/.."

check=
if [ "${1:-}" = --check ]; then
    check=yes
    shift
fi
gatepost=${1:-${CARGO_TARGET_DIR:-target}/debug/gatepost}
if [ ! -x "$gatepost" ]; then
    echo "tools/reference.sh: there is no program $gatepost: build it (cargo build -p gateway) or name it" >&2
    exit 2
fi

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
"$gatepost" --json settings reference > "$out/settings.json"
"$gatepost" --json statuses > "$out/statuses.json"
"$gatepost" statuses > "$out/statuses.txt"
"$gatepost" --json explain --all > "$out/findings.json"

python3 - "$out" <<'PYTHON'
import json, re, sys
from pathlib import Path

OUT = Path(sys.argv[1])
BY = "<!-- Written by tools/reference.sh; do not edit. -->\n"
LISTENERS = ["inbound", "outbound", "submission"]


def cell(text):
    return text.replace("|", "\\|").replace("\n", " ")


def code(text):
    return text if text in ("required", "absent") else f"`{cell(text)}`"


def section(path):
    """The heading under which a key stands, and the key's own name."""
    table, _, key = path.rpartition(".")
    if re.fullmatch(r"listener\.\w+", table):
        return "[listener.inbound], [listener.outbound], [listener.submission]", key
    if table.endswith("[]"):
        return f"[[{table[:-2]}]]", key
    return (f"[{table}]" if table else "Top of the document"), key


def settings():
    sections = {}
    for entry in json.loads((OUT / "settings.json").read_text()):
        heading, key = section(entry["path"])
        row = sections.setdefault(heading, {}).setdefault((key, entry["range"], entry["doc"]), [])
        row.append((entry["path"].split(".")[1] if entry["path"].startswith("listener.") else "", entry["default"]))
    lines = ["# Settings: reference", "", BY,
             "Every key, its default, what it may be and what it means. The same text: `gatepost settings reference`.",
             "How settings are checked and applied: [settings.md](settings.md).", "",
             "\"absent\" means that the key is not set and has no value; \"required\", that each entry must have it. A key whose default",
             "stands in brackets takes a list: `[\"a\", \"b\"]`; so do `recipients` and `alias.to`. A heading in double brackets is an entry",
             "of a list and may stand several times.", ""]
    for heading, rows in sections.items():
        lines += [f"## {heading}", "", "| key | default | may be | meaning |", "|---|---|---|---|"]
        for (key, may_be, doc), defaults in rows.items():
            values = list(dict.fromkeys(value for _, value in defaults))
            if len(values) == 1:
                default = code(values[0])
            else:
                default = "<br>".join(f"{where}: {code(value)}" for where, value in defaults)
            lines.append(f"| `{key}` | {default} | {cell(may_be)} | {cell(doc)} |")
        lines.append("")
    return "\n".join(lines)


def statuses():
    kinds = json.loads((OUT / "statuses.json").read_text())
    # The enhanced code, and the stage as the log writes it, stand in the text only.
    text = (OUT / "statuses.txt").read_text().splitlines()
    heads = [line for line in text if re.match(r"\d{3} ", line)]
    stages = [line.split(None, 1)[1] for line in text if line.startswith("    stage ")]
    if not len(heads) == len(stages) == len(kinds):
        sys.exit(f"tools/reference.sh: {len(heads)} statuses as text, {len(kinds)} as JSON")
    for kind, stage in zip(kinds, stages):
        kind["stage"] = stage
    lines = ["# Statuses: reference", "", BY,
             "Every status that the gateway makes itself. In the queue, the log and bounces it is marked `[internal]`; a status with a",
             "host's name in that place, such as `450 4.2.0 [mx.example.test] …`, is that host's own answer. What the gateway says to a",
             "client has no mark. The same text: `gatepost statuses`.", "",
             "A code of class 4 means that the mail waits and is tried again, or that the client should try again; class 5, that it is",
             "refused or returned to its sender.", "",
             "| status | id | stage |", "|---|---|---|"]
    names = [head.replace(" [internal]", "") for head in heads]
    for name, kind in zip(names, kinds):
        lines.append(f"| {cell(name)} | [{kind['id']}](#{kind['id']}) | {kind['stage']} |")
    lines.append("")
    for name, kind in zip(names, kinds):
        lines += [f"## {kind['id']}", "", f"`{name}` (stage: {kind['stage']})", "", kind["meaning"], "",
                  f"- Causes: {kind['causes']}", f"- Fix: {kind['fix']}", ""]
    return "\n".join(lines)


FAMILIES = {"loop": "Mail loops", "middlebox": "Firewalls and proxies that change the conversation", "dns": "DNS", "net": "The network",
            "tls": "TLS", "own": "This gateway's own resources and policy", "policy": "This gateway's policy", "route": "Domains and routes",
            "env": "Senders", "content": "The message itself", "smtp": "The conversation", "rcpt": "Recipients", "peer": "The other side's policy",
            "diag": "Not a fault", "mtasts": "MTA-STS", "auth": "SPF, DKIM, DMARC"}


def findings():
    lines = ["# Findings: reference", "", BY,
             "Every cause that the gateway can name. `gatepost explain ID` prints the same page. How to read a finding:",
             "[diagnosis.md](diagnosis.md).", ""]
    pages = {}
    for page in json.loads((OUT / "findings.json").read_text()):
        pages.setdefault(page["cause"].split(".")[0], []).append(page)
    for family, page_list in pages.items():
        lines += [f"## {FAMILIES.get(family, family)}", ""]
        for page in page_list:
            text = [line[1:] if line.startswith(" ") else line for line in page["manual"].rstrip().split("\n")]
            title = next((line for line in text if line.strip()), "").lstrip("# ")
            rest = text[text.index(next(line for line in text if line.strip())) + 1:]
            lines += [f"### {page['cause']}", "", f"**{title}**", ""] + [line for line in rest] + [""]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines))


for name, text in [("settings", settings()), ("statuses", statuses()), ("findings", findings())]:
    (OUT / f"reference-{name}.md").write_text(text.rstrip("\n") + "\n")
PYTHON

stale=0
for page in reference-settings.md reference-statuses.md reference-findings.md; do
    if [ -z "$check" ]; then
        cp "$out/$page" "docs/book/$page"
    elif ! diff -u "docs/book/$page" "$out/$page"; then
        stale=1
    fi
done
if [ $stale = 1 ]; then
    echo "docs/book does not say what the program says: run tools/reference.sh $gatepost" >&2
fi
exit $stale
