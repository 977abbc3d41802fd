"""What the benches share: reports, alternation, programs that answer line by line, servers by process id.

in:   nothing. out: text and tables. owns: the processes it starts, until stop_all.
"""
import json
import os
import socket
import statistics
import subprocess
import sys
import time

started = []


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start(command, log=None, **more):
    out = open(log, "wb") if log else subprocess.DEVNULL
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, **more)
    started.append(process)
    return process


def stop(process):
    if process.poll() is None:
        process.terminate()
    process.wait()


def stop_all():
    for process in started:
        stop(process)
    started.clear()


def wait_for(what, seconds=20):
    """Calls `what` until it gives something true, which is returned; None when time ends."""
    end = time.time() + seconds
    while time.time() < end:
        try:
            got = what()
            if got:
                return got
        except OSError:
            pass
        time.sleep(0.05)
    return None


class Talker:
    """A program that answers each line with a line."""

    def __init__(self, *command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        if not answer:
            sys.exit(f"bench: no answer to {words} (exit {self.process.wait()})")
        return answer

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Report:
    def __init__(self):
        self.figures, self.rows = [], []

    def figure(self, what, unit, samples):
        """samples: {peer: [numbers]}."""
        entry = {"what": what, "unit": unit, "peers": {}}
        for peer, numbers in samples.items():
            entry["peers"][peer] = {"median": statistics.median(numbers), "min": min(numbers), "max": max(numbers),
                                    "samples": len(numbers)}
        self.figures.append(entry)
        text = "  ".join(f"{p} {v['median']:.4g} ({v['min']:.4g})" for p, v in entry["peers"].items())
        print(f"{what} [{unit}, median (min)]: {text}", flush=True)
        return {p: v["median"] for p, v in entry["peers"].items()}

    def target(self, what, target, measured, reached):
        self.rows.append({"what": what, "target": target, "measured": measured, "reached": bool(reached)})

    def times(self, what, factor, ours, theirs):
        """Ours is a time: at least factor times shorter."""
        ratio = theirs / ours
        self.target(what, f">= {factor:g}x", f"{ratio:.1f}x", ratio >= factor)

    def at_most(self, what, limit, unit, value):
        self.target(what, f"<= {limit:g} {unit}", f"{value:.3g} {unit}", value <= limit)

    def finish(self, path):
        """A JSON document (also a file), then the table of targets."""
        document = {"cpus": os.cpu_count(), "figures": self.figures, "targets": self.rows}
        with open(path, "w", encoding="utf-8") as f:
            json.dump(document, f, indent=1)
        print(json.dumps(document))
        for row in [{"what": "what", "target": "target", "measured": "measured", "reached": "reached"}, *self.rows]:
            reached = row["reached"] if isinstance(row["reached"], str) else ("yes" if row["reached"] else "no")
            print(f"| {row['what']:56} | {row['target']:>12} | {row['measured']:>10} | {reached:7} |")

    def at_least(self, what, factor, ours, theirs):
        """Ours is a rate or a share: at least factor times theirs."""
        self.target(what, f">= {factor:g}x", f"{ours / theirs:.2f}x", ours >= factor * theirs)


def alternate(rounds, measures):
    """{name: function} → {name: [results]}, one of each in turn, so that all share the machine's moods."""
    samples = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            samples[name].append(measure())
    return samples
