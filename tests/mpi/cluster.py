"""Runs of `cm3 train` and `cm3-mpi train` in a folder of their own, for the tests beside this file."""
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import data

failed = []


def expect(good, what, output=""):
    """One thing that must be so; all are looked at before the test fails."""
    if not good:
        failed.append(what)
        print(f"FAILED: {what}", *(f"  | {line}" for line in output.splitlines()[-15:]), sep="\n", flush=True)


def processes_of(word):
    """Ranks: processes of cm3-mpi one of whose arguments is `word`."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                words = Path("/proc", entry, "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if Path(os.fsdecode(words[0])).name.startswith("cm3-mpi") and os.fsencode(word) in words:
                found.append(int(entry))
    return sorted(found)


class Ended:
    """What a command that ended has said, and how it ended."""

    def __init__(self, code, output, seconds):
        self.code, self.output, self.seconds = code, output, seconds


class Cluster:
    """Small data, a place for runs, and an mpirun."""

    def __init__(self, cm3, cm3_mpi, mpirun):
        self.cm3, self.cm3_mpi, self.mpirun = cm3, cm3_mpi, [mpirun]
        self.folder = tempfile.TemporaryDirectory(prefix="cm3-mpi-")
        self.path = Path(self.folder.name)
        version = subprocess.run([mpirun, "--version"], capture_output=True, text=True).stdout
        if "Open MPI" in version or "OpenRTE" in version:
            self.mpirun += ["--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1"]
        # There may be fewer cores than ranks: whoever waits lets go of his.
        self.environment = os.environ | {"OMP_WAIT_POLICY": "passive", "MPIR_CVAR_POLLS_BEFORE_YIELD": "1"}
        data.shard(self.path / "pairs-0.tar", 0, 24)
        data.shard(self.path / "pairs-1.tar", 24, 24)
        data.shard(self.path / "others.tar", 100, 48)

    # --- commands ---

    def start(self, words):
        return subprocess.Popen([str(word) for word in words], cwd=self.path, env=self.environment, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)

    def finish(self, process, seconds=120):
        started = time.monotonic()
        try:
            output = process.communicate(timeout=seconds)[0]
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output = process.communicate()[0] + f"\n(killed: it had not ended after {seconds} s)"
        return Ended(process.returncode, output, time.monotonic() - started)

    def run(self, words, seconds=120):
        return self.finish(self.start(words), seconds)

    def one(self, *words):
        return [self.cm3, "train", *words]

    def ranks(self, count, *words, options=()):
        return [*self.mpirun, "-n", count, self.cm3_mpi, *options, "train", *words]

    def each(self, *ranks, options=()):
        """Ranks that are started with words of their own each."""
        words = [*self.mpirun]
        for i, of_rank in enumerate(ranks):
            program, *rest = of_rank if os.path.isabs(str(of_rank[0])) else (self.cm3_mpi, *of_rank)
            words += [*([":"] if i else []), "-n", 1, program, *options, "train", *rest]
        return words

    # --- the parts of `train`, small ---

    def prepare(self):
        """Tokenizer, image tokenizer and codes, by one process."""
        for words in (["bpe", "--data", "pairs-*.tar", "-o", "tokenizer.json", "--vocab-size", 270, "--image-codes", 16],
                      [*self.vq("vq-made", 3), "-o", "vq.cm3"],
                      ["encode", "--data", "pairs-*.tar", "others.tar", "--vq", "vq.cm3", "--out-dir", "codes"]):
            ended = self.run(self.one(*words))
            if ended.code:
                sys.exit(f"the data could not be made: {ended.output}")

    def common(self, run, steps, accumulation):
        return ["--run", run, "--steps", steps, "--accumulation", accumulation, "--compute", "f32", "--threads", 1,
                "--warmup", 2, "--lr", 0.003]

    def vq(self, run, steps, accumulation=1, pairs="pairs-*.tar"):
        return ["vq", "--data", pairs, *self.common(run, steps, accumulation), "--batch-size", 4, "--config",
                json.dumps(data.VQ), "--quantise-from", 2]

    def lm(self, run, steps, accumulation=1, codes="codes/pairs-*.tar", config=data.LM):
        return ["lm", "--data", codes, *self.common(run, steps, accumulation), "--batch-size", 2, "--block-size", 64,
                "--tokenizer", "tokenizer.json", "--vq", "vq.cm3", "--config", json.dumps(config)]

    def encoder(self, run, steps, chunk=4):
        return ["encoder", "--data", "pairs-*.tar", *self.common(run, steps, 1), "--batch-size", 16, "--chunk", chunk,
                "--tokenizer", "tokenizer.json", "--config", json.dumps(data.ENCODER)]

    # --- what came of it ---

    def log(self, run, name="loss"):
        """Step to loss; the lines of a log come in order and once."""
        path = self.path / run / "log.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        steps = [line["step"] for line in lines if name in line]
        expect(steps == sorted(set(steps)), f"{run}: the log's steps are {steps}")
        return {line["step"]: line[name] for line in lines if name in line}

    def same_losses(self, what, run, other, limit, least):
        """The same steps with losses that differ by a share of `limit` at most."""
        ours, theirs = self.log(run), self.log(other)
        expect(len(ours) >= least and ours.keys() == theirs.keys(), f"{what}: steps {list(ours)} and {list(theirs)}")
        worst = max((abs(ours[step] - theirs[step]) / abs(theirs[step]) for step in ours.keys() & theirs.keys()),
                    default=math.inf)
        expect(worst <= limit, f"{what}: losses differ by {worst:.2g}\n{ours}\n{theirs}")
        print(f"{what}: losses of {len(ours)} steps differ by {worst:.2g} at most", flush=True)
