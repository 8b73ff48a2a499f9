#!/usr/bin/env python3
"""Training by several ranks on this machine, as people run it.

    run.py CM3 CM3_MPI MPIRUN SUPERVISOR PART...    parts: losses starts numbers signals disk supervised long other
"""
import json
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

from cluster import Cluster, expect, failed, processes_of

# 1e-6 is what is aimed at; sums in another order differ by that.
LOSSES = 1e-5


# --- losses -----------------------------------------------------------------------------------------------------------


def losses(c):
    """Every part learns the same with one process, two and four ranks, and on after a change of their number."""
    parts = {"lm": lambda run, steps: c.lm(run, steps, 4), "vq": lambda run, steps: c.vq(run, steps, 2),
             "encoder": c.encoder}
    for name, words in parts.items():
        for run, start in (("one", lambda w: c.one(*w)), ("two", lambda w: c.ranks(2, *w))):
            ended = c.run(start([*words(f"{name}-{run}", 6), "-o", f"{name}-{run}.cm3"]))
            expect(ended.code == 0 and (c.path / f"{name}-{run}.cm3").exists(), f"{name}, {run}: code {ended.code}", ended.output)
            expect(ended.output.count("wrote ") == 1, f"{name}, {run}: what was written is told once", ended.output)
        c.same_losses(f"{name}, two ranks", f"{name}-two", f"{name}-one", LOSSES, 6)
    ended = c.run(c.ranks(4, *c.lm("lm-four", 6, 4)))
    expect(ended.code == 0, f"lm, four: code {ended.code}", ended.output)
    c.same_losses("lm, four ranks", "lm-four", "lm-one", LOSSES, 6)
    # Two ranks, then one process without MPI, then four ranks.
    for count, stop in ((2, 2), (0, 4), (4, 6)):
        words = [*c.lm("lm-changing", 6, 4), "--stop-at", stop]
        ended = c.run(c.ranks(count, *words) if count else c.one(*words))
        expect(ended.code == 0, f"lm, changing: code {ended.code} at {stop}", ended.output)
    c.same_losses("lm, 2, 1 and 4 ranks", "lm-changing", "lm-one", LOSSES, 6)
    shares(c)


def shares(c):
    """What is no training run: shards are shared out, the text tokenizer is made once."""
    ended = c.run(c.ranks(2, "encode", "--data", "pairs-*.tar", "others.tar", "--vq", "vq.cm3", "--out-dir", "again"))
    expect(ended.code == 0, f"encode: code {ended.code}", ended.output)
    for name in ("pairs-0.tar", "pairs-1.tar", "others.tar"):
        same = (c.path / "again" / name).exists() and (c.path / "again" / name).read_bytes() == (c.path / "codes" / name).read_bytes()
        expect(same, f"encode: {name} is another", ended.output)
    ended = c.run(c.ranks(2, "encode", "--data", "pairs-0.tar", "codes/pairs-0.tar", "--vq", "vq.cm3", "--out-dir", "third"))
    expect(ended.code == 1 and "of one name" in ended.output, f"two of one name: code {ended.code}", ended.output)
    shutil.copy(c.path / "codes/pairs-0.tar", c.path / "pairs-0.jsonl")
    ended = c.run(c.ranks(2, "encode", "--data", "pairs-0.tar", "pairs-0.jsonl", "--vq", "vq.cm3", "--out-dir", "third"))
    expect(ended.code == 1 and "of one name" in ended.output, f"two that become one: code {ended.code}", ended.output)
    (c.path / "pairs-0.jsonl").unlink()
    ended = c.run(c.ranks(2, "bpe", "--data", "pairs-*.tar", "-o", "again.json", "--vocab-size", 270, "--image-codes", 16))
    same = ended.code == 0 and (c.path / "again.json").read_bytes() == (c.path / "tokenizer.json").read_bytes()
    expect(same, f"bpe: code {ended.code}", ended.output)


# --- ranks that do not fit each other ---------------------------------------------------------------------------------


def starts(c):
    """A rank with other words, data or version than the others' is found at once, and named."""
    words = c.lm("odd", 4, 2)
    other_config = c.lm("odd", 4, 2, config={"hidden_size": 64, "layers": 1, "heads": 4, "ffn_size": 48, "max_positions": 64})
    other_version = c.path / "cm3-mpi-other"
    program = Path(c.cm3_mpi).read_bytes()
    version = re.search(rb"cm3-mpi (\d+\.\d+\.\d+)", subprocess.run([c.cm3_mpi, "--version"], capture_output=True).stdout)[1]
    expect(program.count(b"\0" + version + b"\0") > 0, "the program does not hold its version")
    other_version.write_bytes(program.replace(b"\0" + version + b"\0", b"\0" + version[:-1] + b"9\0"))
    other_version.chmod(0o755)
    for what, of_rank_1, named in (("data", c.lm("odd", 4, 2, "codes/others.tar"), "data"),
                                   ("model", other_config, "config"),
                                   ("seed", [*words, "--seed", 7], "seed"),
                                   ("version", [other_version, *words], "version")):
        ended = c.run(c.each(words, of_rank_1), 60)
        right = ended.code not in (0, 2) and "rank 1" in ended.output and named in ended.output
        expect(right and ended.seconds < 30, f"other {what}: code {ended.code} after {ended.seconds:.0f} s", ended.output)
    expect(not (c.path / "odd/checkpoint.safetensors").exists(), "ranks that do not fit made a checkpoint")
    ended = c.run(c.ranks(2, *c.lm("odd", 4, 3)), 60)
    expect(ended.code == 1 and "accumulation" in ended.output, f"2 ranks, 3 micro-steps: code {ended.code}", ended.output)
    # Of one rank alone: it says so with its number, and takes the others along.
    ended = c.run(c.each(words, c.lm("odd", 4, 2, "nowhere.tar")), 60)
    expect(ended.code == 1 and "cm3: rank 1: nowhere.tar" in ended.output, f"no data: code {ended.code}", ended.output)
    for words, said in ((["--comm-timeout", "soon", "train", "lm"], "soon"), (["--often", "train"], "--often"), (["draw"], "train")):
        ended = c.run([c.cm3_mpi, *words])
        expect(ended.code == 2 and said in ended.output, f"{words}: code {ended.code}", ended.output)
    ended = c.run([c.cm3_mpi, "--help"])
    expect(ended.code == 0 and "--comm-timeout" in ended.output, "--help", ended.output)


# --- numbers that are none --------------------------------------------------------------------------------------------


def with_huge_weights(c):
    """A model whose first feed-forward layer computes infinite numbers from finite weights."""
    made = c.run(c.one(*c.lm("huge-made", 1, 2), "--weights", "f32", "-o", "huge.cm3"))
    expect(made.code == 0, f"huge.cm3: code {made.code}", made.output)
    content = bytearray((c.path / "huge.cm3").read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    for name, entry in json.loads(content[8:start]).items():
        if re.search(r"layers\.0\.mlp\.(gate|up)_proj", name):
            first, end = entry["data_offsets"]
            content[start + first:start + end] = struct.pack("<f", 1e30) * ((end - first) // 4)
    (c.path / "huge.cm3").write_bytes(content)


def numbers(c):
    """Steps whose loss is not finite: all ranks leave out as many as they may, and end alike, saying so once."""
    with_huge_weights(c)
    for allowed in (0, 3):
        words = [*c.lm(f"wild-{allowed}", 20, 2), "--init", "huge.cm3", "--skip-steps", allowed, "--log-every", 1]
        ended = c.run(c.ranks(2, *words), 60)
        said = re.findall(r"step (\d+): the loss is not finite", ended.output)
        left_out = re.findall(r"step (\d+) is left out", ended.output)
        expect(ended.code == 1 and said == [str(1 + allowed)] and left_out == [str(1 + i) for i in range(allowed)],
               f"not finite, {allowed} left out: code {ended.code}, {said}, {left_out}", ended.output)
        logged = [json.loads(line) for line in steps_of(c, f"wild-{allowed}")]
        expect([line["loss"] for line in logged if "loss" in line] == [None] * allowed, f"{allowed} left out: {logged}")


# --- signals ----------------------------------------------------------------------------------------------------------


def wait_for_steps(c, run, process, steps, seconds=60):
    """Until the run's log has so many steps; its ranks."""
    until = time.monotonic() + seconds
    log = c.path / run / "log.jsonl"
    while time.monotonic() < until and process.poll() is None:
        if log.exists() and log.read_bytes().count(b"\n") >= steps:
            return processes_of(run)
        time.sleep(0.02)
    expect(False, f"{run}: no {steps} steps in {seconds} s")
    return processes_of(run)


def signals(c):
    """A signal to one rank, or to mpirun: all end behind the same step, with a checkpoint."""
    def to_mpirun(process, ranks):
        process.send_signal(signal.SIGUSR1)

    def to_rank_1(process, ranks):
        os.kill(ranks[-1], signal.SIGTERM)

    def to_all(process, ranks):
        for rank in ranks:
            os.kill(rank, signal.SIGINT)

    long = 100000
    for name, send in (("mpirun", to_mpirun), ("rank 1", to_rank_1), ("all", to_all)):
        run = f"signals-{name.replace(' ', '-')}"
        process = c.start(c.ranks(2, *c.lm(run, long, 2), "--log-every", 1, "--save-every", long))
        ranks = wait_for_steps(c, run, process, 3)
        send(process, ranks)
        ended = c.finish(process, 60)
        said = re.findall(r"interrupted at step (\d+)", ended.output)
        # MPICH's mpirun may end with 0 where it was itself the one to pass the signal on.
        codes = (0, 130) if name == "mpirun" and "mpich" in c.mpirun[0] else (130,)
        expect(ended.code in codes and len(said) == 1, f"signal to {name}: code {ended.code}", ended.output)
        last = max(c.log(run), default=0)
        ended = c.run(c.one(*c.lm(run, long, 2), "--stop-at", last + 1))
        expect(said == [str(last)] and f"going on from step {last}" in ended.output,
               f"signal to {name}: at step {said}, logged {last}", ended.output)
    silent(c)


def silent(c):
    """A rank that is stopped: the others say what they wait for, and the run ends. One that is killed: the same, at once."""
    for number, options, said in ((signal.SIGSTOP, ["--comm-timeout", 3], "waited 3 s for the other ranks in a"),
                                  (signal.SIGKILL, [], "")):
        run = f"silent-{number}"
        process = c.start(c.ranks(2, *c.lm(run, 100000, 2), "--save-every", 2, options=options))
        ranks = wait_for_steps(c, run, process, 4)
        os.kill(ranks[-1], number)
        ended = c.finish(process, 60)
        expect(ended.code not in (0, 130) and said in ended.output and ended.seconds < 30,
               f"{signal.Signals(number).name} to a rank: code {ended.code} after {ended.seconds:.0f} s", ended.output)
        for _ in range(50):
            if not processes_of(run):
                break
            time.sleep(0.1)
        expect(not processes_of(run), f"{signal.Signals(number).name}: ranks are left")


# --- a full disk ------------------------------------------------------------------------------------------------------


def disk(c):
    """The run's disk fills up: the run ends with the reason, on all ranks, and the checkpoint before stays good."""
    place = c.path / "small"
    place.mkdir()
    whole = c.run(c.ranks(2, *c.lm("measured", 2, 2)))
    size = (c.path / "measured/checkpoint.safetensors").stat().st_size if whole.code == 0 else 0
    # Room for one checkpoint and a half: the next, which is written beside it, has none.
    mounted = size and subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size * 3 // 2 >> 10}k", "none", place],
                                      capture_output=True).returncode == 0
    if not mounted:
        expect(size > 0, f"measured: code {whole.code}", whole.output)
        print("no file system can be mounted here: left out")
        return
    try:
        words = [*c.lm("small/run", 8, 2), "--log-every", 1, "--save-every", 4]
        ended = c.run(c.ranks(2, *words), 60)
        expect(ended.code == 1 and "No space left" in ended.output and ended.seconds < 30,
               f"a full disk: code {ended.code} after {ended.seconds:.0f} s", ended.output)
        shutil.copytree(place / "run", c.path / "rescued")
    finally:
        subprocess.run(["umount", place], check=True)
    words[words.index("small/run")] = "rescued"
    ended = c.run(c.ranks(2, *words))
    expect(ended.code == 0 and "going on from step 4" in ended.output, f"rescued: code {ended.code}", ended.output)


# --- supervised -------------------------------------------------------------------------------------------------------


def wait_for_moment(c, run, process, dice, begun, steps):
    """Until a moment to kill a rank: soon after the start that began at step `begun`, or at any step of the run."""
    while process.poll() is None and not processes_of(run):
        time.sleep(0.005)
    if dice.random() < 0.25:
        until = time.monotonic() + dice.uniform(0, 1)
        while time.monotonic() < until and process.poll() is None:
            time.sleep(0.005)
    else:
        step = dice.randrange(begun, max(begun + 1, steps - 1))
        while process.poll() is None and len(steps_of(c, run)) <= step:
            time.sleep(0.005)
    time.sleep(dice.uniform(0, 0.02))


def killed_and_restarted(c, supervisor, number, ranks, steps):
    """A run a rank of which is killed at a random moment of each start but the last; `ranks`: of each start."""
    run, dice = f"killed-{number}", random.Random(number)
    process = c.start([supervisor, "--ranks", ",".join(map(str, ranks)), "--wait", 0, "--retries", 20, "--stalls", 20, "--",
                       *c.ranks(2, *c.lm(run, steps, 4), "--save-every", 7, "--log-every", 1)])
    kills = 0
    for _ in ranks[1:]:
        wait_for_moment(c, run, process, dice, len(steps_of(c, run)), steps)
        victims = processes_of(run)
        try:
            os.kill(dice.choice(victims), signal.SIGKILL)
            kills += 1
        except (IndexError, ProcessLookupError):
            pass  # it had ended
        while process.poll() is None and set(victims) & set(processes_of(run)):
            time.sleep(0.01)
    ended = c.finish(process, 300)
    starts_made = len(re.findall(r"^train-supervised: \S+ \S+ start \d+ with", ended.output, re.M))
    # A kill may come when the last step is done already.
    expect(ended.code == 0 and "the training is done" in ended.output and kills <= starts_made <= kills + 1,
           f"{run}: code {ended.code}, {kills} kills, {starts_made} starts", ended.output)
    c.same_losses(f"{run}, killed {kills} times, ranks {ranks}", run, "whole", 1e-4, steps)
    return kills


def kill_at_random(c, supervisor, wanted, runs, steps):
    """Runs of one after another of these numbers of ranks, until so many were killed: some end before they are."""
    ended = c.run(c.one(*c.lm("whole", steps, 4), "--log-every", 1), 300)
    expect(ended.code == 0, f"whole: code {ended.code}", ended.output)
    kills = number = 0
    while kills < wanted and number < 3 * wanted:
        kills += killed_and_restarted(c, supervisor, number, runs[number % len(runs)], steps)
        number += 1
    expect(kills >= wanted, f"only {kills} kills in {number} runs")
    print(f"{kills} kills in {number} runs")


def supervised(c, supervisor):
    kill_at_random(c, supervisor, 4, [(2, 1, 2), (1, 2), (2, 4)], 200)
    # A signal to the supervisor is one to the ranks.
    process = c.start([supervisor, *c.ranks(2, *c.lm("told", 100000, 2))])
    wait_for_steps(c, "told", process, 3)
    process.terminate()
    ended = c.finish(process, 60)
    expect(ended.code == 130 and "interrupted at step" in ended.output and "start 2" not in ended.output,
           f"supervisor told to end: code {ended.code}", ended.output)
    # What can never work is given up; what is wrong is not tried again.
    ended = c.run([supervisor, "--wait", 0, "--stalls", 2, *c.ranks(1, *c.lm("hopeless", 4, 2, "nowhere.tar"))])
    expect(ended.code == 1 and "no step was made in 2 starts" in ended.output and "start 3" not in ended.output,
           f"hopeless: code {ended.code}", ended.output)
    # So it is where the log of a start before tells of more steps than the checkpoint has.
    words = c.lm("once", 100000, 2)
    ended = c.run(c.one(*words, "--stop-at", 4))
    expect(ended.code == 0, f"once: code {ended.code}", ended.output)
    with open(c.path / "once/log.jsonl", "a") as log:
        log.write('{"step": 7, "loss": 1.0}\n')
    ended = c.run([supervisor, "--wait", 0, "--stalls", 2, *c.ranks(1, *c.lm("once", 100000, 2, "nowhere.tar"))])
    expect(ended.code == 1 and "no step was made in 2 starts" in ended.output and "start 3" not in ended.output,
           f"hopeless behind a log: code {ended.code}", ended.output)
    ended = c.run([supervisor, "--wait", 0, "--retries", 1, "--stalls", 9, *c.ranks(1, *c.lm("hopeless", 4, 2, "nowhere.tar"))])
    expect(ended.code == 1 and "it was started again 1 times" in ended.output, f"retries: code {ended.code}", ended.output)
    ended = c.run([supervisor, *c.ranks(1, *c.lm("wrong", 4, 2), "--often")])
    expect(ended.code == 2 and "start 2" not in ended.output, f"wrong usage: code {ended.code}", ended.output)
    fresh(c, supervisor)
    for words, said in ((["true"], "no --run"), (["--ranks", "two", "true"], "two"), (["--ranks", "2", "true", "--run", "x"], "neither"),
                        (["--stalls", "0", "true"], "--stalls"), (["--often", "true"], "--often"), ([], "missing")):
        ended = c.run([supervisor, *words])
        expect(ended.code == 2 and said in ended.output, f"supervisor {words}: code {ended.code}", ended.output)


def fresh(c, supervisor):
    """--fresh begins anew once, and not again at each start; two supervisors of one run do not fit."""
    words = c.lm("fresh", 100000, 2)
    c.run(c.one(*words, "--stop-at", 9))
    old = checkpoint_of(c, "fresh")
    process = c.start([supervisor, "--wait", 0, *c.ranks(2, *words, "--fresh", "--save-every", 3, "--log-every", 1)])
    wait_for_checkpoint(c, "fresh", process, old)
    second = c.run([supervisor, *c.ranks(2, *words)])
    expect(second.code == 1 and "still alive" in second.output, f"a second supervisor: code {second.code}", second.output)
    victims = processes_of("fresh")
    for rank in victims[:1]:
        os.kill(rank, signal.SIGKILL)
    while process.poll() is None and not set(processes_of("fresh")) - set(victims):
        time.sleep(0.01)
    wait_for_checkpoint(c, "fresh", process, checkpoint_of(c, "fresh"))
    process.terminate()
    ended = c.finish(process, 60)
    firsts = re.findall(r"start (\d) from step (\d+)|start (\d), from step (\d+)", ended.output)
    expect(ended.code == 130 and len(firsts) == 2 and ended.output.count("--fresh") == 1,
           f"fresh: code {ended.code}, {firsts}", ended.output)


def checkpoint_of(c, run):
    """What tells one checkpoint from the next: each is a new file in the old one's place."""
    state = os.stat(c.path / run / "checkpoint.safetensors")
    return state.st_ino, state.st_mtime_ns


def wait_for_checkpoint(c, run, process, before, seconds=60):
    until = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < until and checkpoint_of(c, run) == before:
        time.sleep(0.01)
    expect(checkpoint_of(c, run) != before, f"{run}: no new checkpoint in {seconds} s")


def steps_of(c, run):
    try:
        return (c.path / run / "log.jsonl").read_text().splitlines()
    except OSError:
        return []


def other(c):
    """What may differ between two makes of MPI: sums, signals, the end of a job."""
    words = c.lm("other-one", 6, 2)
    for run, command in (("other-one", c.one(*words)), ("other-two", c.ranks(2, *c.lm("other-two", 6, 2)))):
        ended = c.run(command)
        expect(ended.code == 0, f"{run}: code {ended.code}", ended.output)
    c.same_losses("lm, two ranks", "other-two", "other-one", LOSSES, 6)
    signals(c)


def main():
    cm3, cm3_mpi, mpirun, supervisor, *parts = sys.argv[1:]
    c = Cluster(cm3, cm3_mpi, mpirun)
    c.prepare()
    for part in parts:
        started = time.monotonic()
        if part == "supervised":
            supervised(c, supervisor)
        elif part == "long":
            kill_at_random(c, supervisor, 20, [(2, 1), (2, 4), (1, 2), (4, 2)], 150)
        else:
            {"losses": losses, "starts": starts, "numbers": numbers, "signals": signals, "disk": disk, "other": other}[part](c)
        print(f"{part}: {time.monotonic() - started:.1f} s", flush=True)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
