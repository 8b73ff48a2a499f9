#!/usr/bin/env python3
"""Installs the package into a virtual environment and runs the tests there.

    run.py --library LIB --command CM3 --work DIR          the sources with the library of a build: quick
    run.py --library LIB --command CM3 --work DIR --wheel  the wheel, built from nothing, in a new environment

Packages that the tests need come from PyPI (requirements.txt) and stay in DIR. Ends with 77 (skipped) where they cannot
be had.
"""
from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).resolve().parent
PACKAGE = TESTS.parent
SOURCE = PACKAGE.parent.parent
SKIPPED = 77


def pip(python: Path, *words: str) -> None:
    subprocess.run([str(python), "-m", "pip", "--disable-pip-version-check", "-q", *words], check=True,
                   stdout=sys.stderr)


def environment(folder: Path, requirements: str) -> Path:
    """A virtual environment with these packages; one that has them already is taken as it is. Its Python."""
    python, stamp = folder / "bin/python", folder / "requirements"
    if not stamp.is_file() or stamp.read_text() != requirements or not python.exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip(python, "install", *requirements.split())
        stamp.write_text(requirements)
    return python


def site_packages(python: Path) -> Path:
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(subprocess.run([str(python), "-c", where], check=True, stdout=subprocess.PIPE,
                               universal_newlines=True).stdout.strip())


def install_sources(python: Path, library: Path) -> None:
    """The package without its C part, and in its folder, as the wheel has it, the library of a build and the model."""
    pip(python, "install", "--no-deps", "--no-build-isolation", "--force-reinstall",
        "--config-settings=wheel.cmake=false", str(PACKAGE))
    folder = site_packages(python) / "cm3leon"
    for stale in folder.glob("libcm3leon.so*"):
        stale.unlink()
    (folder / "libcm3leon.so").symlink_to(library.resolve())
    (folder / "models").mkdir(exist_ok=True)
    model = folder / "models/toybox.cm3"
    if model.is_symlink():
        model.unlink()
    model.symlink_to(SOURCE / "models/toybox.cm3")


def install_wheel(builder: Path, python: Path, work: Path) -> None:
    """Builds the wheel from nothing and installs it."""
    shutil.rmtree(work / "dist", ignore_errors=True)
    shutil.rmtree(work / "build-wheel", ignore_errors=True)
    pip(builder, "wheel", "--no-deps", "--no-build-isolation", "-w", str(work / "dist"),
        f"--config-settings=build-dir={work / 'build-wheel'}", str(PACKAGE))
    wheels = list((work / "dist").glob("*.whl"))
    assert len(wheels) == 1 and wheels[0].name.endswith("-py3-none-linux_x86_64.whl"), wheels
    print(f"{wheels[0].name}: {wheels[0].stat().st_size / 1e6:.1f} MB", file=sys.stderr)
    pip(python, "install", "--no-deps", "--no-index", "--force-reinstall", str(wheels[0]))
    check_self_contained(site_packages(python) / "cm3leon")


def check_self_contained(folder: Path) -> None:
    """What the library needs is beside it, or the C library's own; no licence is missing."""
    listed = subprocess.run(["ldd", str(next(folder.glob("libcm3leon.so*")))], check=True, stdout=subprocess.PIPE,
                            universal_newlines=True).stdout
    for line in listed.splitlines():
        name, _, place = line.strip().partition(" => ")
        own = name.split(".so")[0].split("/")[-1] in ("libc", "libm", "libdl", "librt", "libpthread", "ld-linux-x86-64")
        assert own or "linux-vdso" in name or place.startswith(str(folder)), line
    bundled = [path for path in folder.glob("*.so*") if not path.name.startswith("libcm3leon")]
    assert bundled and len(list((folder / "licenses").glob("*.txt"))) >= len(bundled)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", type=Path, required=True)
    parser.add_argument("--command", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--wheel", action="store_true")
    parser.add_argument("pytest", nargs="*", help="handed to pytest")
    a = parser.parse_args()
    requirements = (TESTS / "requirements.txt").read_text()
    variables = {**os.environ, "CM3_COMMAND": str(a.command.resolve()), "CM3_TEST_INSTALLED": "1"}
    for name in ("PYTHONPATH", "CM3LEON_LIB"):
        variables.pop(name, None)
    try:
        if a.wheel:
            shutil.rmtree(a.work / "wheel-venv", ignore_errors=True)
            builder = environment(a.work / "venv", requirements)
            python = environment(a.work / "wheel-venv", requirements + "nbclient\nipykernel\n")
        else:
            builder = python = environment(a.work / "venv", requirements)
    except subprocess.CalledProcessError as error:
        print(f"skipped: the packages for testing cannot be had ({error})", file=sys.stderr)
        return SKIPPED
    if a.wheel:
        install_wheel(builder, python, a.work)
        variables["CM3_TEST_LONG"] = variables["CM3_TEST_WHEEL"] = "1"
    else:
        install_sources(python, a.library)
    with tempfile.TemporaryDirectory() as elsewhere:  # nothing of the sources is found by chance
        return subprocess.run([str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", str(TESTS), *a.pytest],
                              cwd=elsewhere, env=variables).returncode


if __name__ == "__main__":
    sys.exit(main())
