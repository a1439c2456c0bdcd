#!/usr/bin/env python3
"""The one door to the course. It needs Python 3.11-3.13 and nothing else; the first use builds .venv (a few minutes).

python lab.py                  open the course in JupyterLab (this machine only, with a token)
python lab.py test             run every test: style, labkit, every notebook   [pytest arguments]
python lab.py present 04       show a lab as live slides
python lab.py refresh [04 ..]  re-execute notebooks and store their outputs
python lab.py handout [04 ..]  make a folder and a zip for students, without solutions
python lab.py grade PLACE ..   score filled-in notebooks, or folders of them
python lab.py site             make the course's website in build/site, to read without Python
python lab.py bench            measure speed against the libraries people use
python lab.py mutants          change the code in small ways: do the tests notice? (an hour)   [modules, --sample N]
python lab.py breaks [04 ..]   make each claim of a lab false: does it go red? (minutes per lab)   [--jobs N, --list]
python lab.py doctor           look for what is wrong with this machine, and say how to mend it
python lab.py ...              anything else goes to labkit; `python lab.py help` lists what it knows
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
LOCK = ROOT / "requirements.lock"  # requirements.txt, with the SHA-256 of every package
INSTALLER = ROOT / "installer.lock"  # uv, which installs them many times quicker than pip, which remains the fallback
STAMP = VENV / "labkit-stamp.json"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
OLDEST, NEWEST = (3, 11), (3, 13)
GIGABYTES = 8 if sys.platform == "linux" else 4  # torch for Linux brings the CUDA libraries
CHECKED = ("--require-hashes", "--only-binary", ":all:")  # nothing is run that is not one of the packages named
AGAIN = "Then run the same command again."
TOOLS = ("anywhere", "bench", "breaks", "cards", "gpu", "map", "mutants", "picture")  # they run from the repository


def stop(message):
    sys.exit("\n" + message)


def free_gigabytes():
    return shutil.disk_usage(VENV.resolve() if VENV.exists() else ROOT).free / 1e9


def wanted():
    """What the set-up depends on; when it changes, .venv is made anew."""
    return hashlib.sha256(LOCK.read_bytes() + f"{sys.version} {ROOT}".encode()).hexdigest()


def packages():
    """The installed packages' records, relative to .venv."""
    site = "Lib/site-packages" if os.name == "nt" else "lib/python*/site-packages"
    return sorted(path.relative_to(VENV).as_posix() for path in VENV.glob(site + "/*.dist-info"))


def is_ready():
    """True if the set-up was finished, fits this checkout, and no package has been removed since."""
    try:
        stamp = json.loads(STAMP.read_text(encoding="utf-8"))
        return PYTHON.exists() and stamp["wanted"] == wanted() and set(stamp["packages"]) <= set(packages())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def check_machine():
    version = "{}.{}".format(*sys.version_info)
    if sys.version_info[:2] < OLDEST:
        stop(
            f"This is Python {version} ({sys.executable}); the course needs 3.11, 3.12 or 3.13.\n"
            "Install one of them, then start it by name, for example: python3.12 lab.py"
        )
    if sys.version_info[:2] > NEWEST:
        print("Note: the course is tested with Python 3.11-3.13; this is newer.", flush=True)
    if sys.maxsize < 2**32:
        stop("This Python is a 32-bit build, for which there is no PyTorch. Install the 64-bit one.")
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        stop(
            "This Python comes without the venv module. On Debian or Ubuntu:\n"
            f"    sudo apt install python{version}-venv\n{AGAIN}"
        )
    if Path(sys.prefix).resolve() == VENV.resolve():
        stop(f"The set-up in .venv must be made anew, which cannot be done from inside it. Deactivate it. {AGAIN}")
    free = free_gigabytes()
    if free < GIGABYTES:
        beside = f", beside the old one, which is kept until the new one works ({VENV})" if VENV.exists() else ""
        way_out = " Make room, or delete the old one yourself." if VENV.exists() else " Make room."
        stop(f"The set-up needs {GIGABYTES} GB on the disk of {ROOT}{beside}; {free:.1f} GB are free.{way_out} {AGAIN}")


def install(*arguments):
    """Installs with uv, or with pip where uv cannot be had. True if it worked."""
    pip = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    if subprocess.call([*pip, *CHECKED, "-r", str(INSTALLER)]) == 0:
        # Without compiled bytecode every notebook's kernel would compile torch anew.
        uv = [str(PYTHON), "-m", "uv", "pip", "install", "--python", str(PYTHON), "--compile-bytecode"]
        if subprocess.call([*uv, *arguments]) == 0:
            return True
        print("uv could not install everything; trying pip ...", flush=True)
    return subprocess.call([*pip, *arguments]) == 0


def set_up(go_on=True):
    """Makes .venv where it is missing or out of date. An old one that worked is kept until the new one does.

    When no new one can be made, and `go_on`, the old one is used, and that is said.
    """
    if is_ready():
        return
    check_machine()
    print(
        f"Setting up {VENV.name} (first use, something has changed, or a set-up was cut short). A few minutes ...",
        flush=True,
    )
    place = VENV.resolve()  # .venv may be a link to a disk with more room
    old = place.with_name(place.name + ".old")
    kept = put_aside(place, old)
    try:
        make(place)
    except BaseException as error:  # Ctrl-C too must not cost a set-up that worked
        shutil.rmtree(place, ignore_errors=True)
        if kept:
            old.rename(place)
        if not (kept and go_on and STAMP.exists() and isinstance(error, SystemExit)):
            raise
        print(f"{error}\nGoing on with the old set-up, whose packages may not be those that are wanted.", flush=True)
    else:
        shutil.rmtree(old, ignore_errors=True)


def put_aside(place, old):
    """Moves a set-up out of the way of a new one; True if there was one. One that an earlier attempt left stays."""
    if not place.exists():
        return old.exists()
    try:
        if old.exists():  # the attempt was killed: what it left is half a set-up
            shutil.rmtree(place)
        else:
            place.rename(old)
    except OSError as error:
        stop(f"{place} could not be moved: {error}\nClose programs that use it. {AGAIN}")
    return True


def make(place):
    import venv

    try:
        venv.EnvBuilder(with_pip=True, symlinks=os.name != "nt").create(place)
    except (OSError, subprocess.CalledProcessError) as error:
        stop(f"The environment could not be made: {error}\n{AGAIN}")
    # labkit is built with the pinned setuptools, hence the second step and no build isolation.
    if not (install(*CHECKED, "-r", str(LOCK)) and install("--no-deps", "--no-build-isolation", "-e", str(ROOT))):
        if free_gigabytes() < 0.5:
            stop(f"The disk is full; the set-up needs {GIGABYTES} GB. Make room. {AGAIN}")
        stop(
            "The packages could not be installed; the lines above say why. Most often the network is down, or a proxy\n"
            f"stands in between (set HTTPS_PROXY). {AGAIN} Nothing of this attempt is taken for good."
        )
    # Written last, so that a set-up that was cut short is never taken for a finished one.
    STAMP.write_text(json.dumps({"wanted": wanted(), "packages": packages()}), encoding="utf-8")


def run(*command, folder=None):
    """Runs a module in the environment; returns its exit status.

    In the caller's folder, unless told otherwise, whose files are never taken for modules (-P).
    """
    environment = {
        "OMP_WAIT_POLICY": "PASSIVE",  # idle threads that spin make two training runs at a time several times slower
        "JUPYTER_PREFER_ENV_PATH": "1",  # a kernel called python3 elsewhere on the machine must not be taken
        **os.environ,
        "VIRTUAL_ENV": str(VENV),
        "PATH": str(PYTHON.parent) + os.pathsep + os.environ.get("PATH", ""),
    }
    environment.pop("PYTHONHOME", None)
    safely = [] if folder else ["-P"]
    process = subprocess.Popen([str(PYTHON), *safely, "-m", *command], cwd=folder, env=environment)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:  # the terminal has sent it to the program too, which decides when to end
            continue


def test(arguments):
    """Style, then every test; the status is that of the first failure, but all of them run."""
    if arguments:
        return run("pytest", *arguments, folder=ROOT)
    workers = str(max(1, min(4, os.cpu_count() or 1)))
    style = [run("ruff", "check", ".", folder=ROOT), run("ruff", "format", "--check", ".", folder=ROOT)]
    tests = run("pytest", "-n", workers, "--dist", "loadfile", folder=ROOT)
    return next((status for status in [*style, tests] if status), 0)


def main(arguments):
    if arguments[:1] in (["-h"], ["--help"]):
        print(__doc__)
        return 0
    set_up(go_on=arguments[:1] != ["test"])
    if not arguments:
        return run("course", "open")
    if arguments[0] == "test":
        return test(arguments[1:])
    if arguments[0] in TOOLS:
        return run("tools", *arguments, folder=ROOT)
    return run("course", *(["--help"] if arguments == ["help"] else arguments))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
