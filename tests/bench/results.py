"""The figures of a run in a JSON file, and what became of them since the last run."""
import datetime
import json
import os
import statistics
import subprocess

import turns

SHOWN_FROM = 1.05  # a change of so much is worth a line


def machine():
    with open("/proc/cpuinfo") as file:
        names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    return f"{names[0] if names else os.uname().machine}, {os.cpu_count()} core(s)"


def commit():
    done = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=turns.ROOT, capture_output=True, text=True)
    return done.stdout.strip()


def load(path):
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {"parts": {}}


def store(path, part, rows):
    """Replaces the part's rows that were measured now, with date, commit and machine; other rows and parts stay as they are."""
    data = load(path)
    known = data["parts"].setdefault(part, {"rows": {}})
    stamp = {"commit": commit(), "date": datetime.datetime.now().isoformat(timespec="seconds"), "machine": machine()}
    known["rows"].update({name: row | stamp for name, row in rows.items()})
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(data, indent=1) + "\n")
    partial.replace(path)


def compare(last, part, rows, figure):
    """Prints the ratios to the last figures, which have their own dates and commits; of another machine they would say nothing."""
    known, here = last["parts"].get(part, {"rows": {}}), machine()
    others = {known["rows"][name].get("machine", "an unknown machine") for name in rows if name in known["rows"]} - {here}
    if others:
        print(f"\nRows that were measured on {' and '.join(sorted(others))} are not compared")
    rows = {name: row for name, row in rows.items() if known["rows"].get(name, {}).get("machine") == here}
    pairs = {name: (known["rows"][name][figure], row[figure]) for name, row in rows.items() if figure in known["rows"].get(name, {})}
    if not pairs:
        return
    ratios = {name: now / before for name, (before, now) in pairs.items()}
    stamps = sorted({(known["rows"][name]["date"], known["rows"][name]["commit"]) for name in pairs})
    since = " to ".join(f"{date} ({of})" for date, of in dict.fromkeys([stamps[0], stamps[-1]]))
    print(f"\nSince {since}, now / then, {figure}: geometric mean {statistics.geometric_mean(ratios.values()):.3f} of {len(ratios)}")
    for name, ratio in sorted(ratios.items(), key=lambda pair: -pair[1]):
        if max(ratio, 1 / ratio) >= SHOWN_FROM:
            print(f"  {ratio:.2f}  {name}: {pairs[name][0]:.4g} -> {pairs[name][1]:.4g}")
