"""Measuring a paper table: which runs are still to do, and doing them side by side in processes of their own.

Only the process that was called writes records. It adds one as a run ends, so that a kill at any moment costs at most
the runs in hand; called again, it goes on with what is missing. Runs of hours are also saved on the way.
"""

import atexit
import hashlib
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict
from pathlib import Path

import torch
from tqdm import tqdm

from experiments import records, store, trial, tuning
from experiments.definitions import DATASETS, Table, table_named
from experiments.definitions import seeds as seeds_of
from experiments.trial import Job
from labkit import data
from labkit.training import device as running
from labkit.training.sharded import disconnect

MEETING = "LABKIT_MEETING"  # the environment variable that names the file in which the processes of `share` meet


class Measurement:
    """The runs of a table that are asked for, and the records that are there."""

    def __init__(self, table, size, datasets=None, rows=None, seeds=None, root=None, folder=None, again=False):
        """seeds: how many final runs a row has, default those of the protocol.

        Raises ValueError for unknown names, and store.Mismatch for records that do not fit, unless `again`.
        """
        self.table: Table = table_named(table)
        self.name, self.size, self.root = table, size, root
        self.path = store.path_of(self.table.file(table), size, folder)
        self.lock = store.path_of(table, size, folder)  # tables that share a file may be measured at the same time
        self.datasets = self._datasets(datasets)
        self.rows = self._rows(rows)
        self.seeds = seeds
        self.load(again)

    def _datasets(self, names):
        unknown = [name for name in names or () if name not in DATASETS]
        if unknown:
            raise ValueError(f"datasets: got {', '.join(unknown)}, expected some of {', '.join(DATASETS)}")
        folder = data.data_folder(self.root)
        fit = [name for name in names or self.table.datasets if _runs(self.table).has_recipe(self.size, name)]
        here = [name for name in fit if data.available(name, "train", self.root)]
        if missing := [name for name in names or () if name not in here]:
            why = f"not at hand in {folder}" if set(missing) <= set(fit) else f"without a recipe in size {self.size!r}"
            raise ValueError(f"datasets: {', '.join(missing)} {why}")
        if not here:
            raise ValueError(f"datasets: none of {', '.join(fit)} is in {folder}")
        return here

    def _rows(self, names):
        unknown = [name for name in names or () if name not in self.table.rows]
        if unknown:
            raise ValueError(f"rows: got {', '.join(unknown)}, expected some of {', '.join(self.table.rows)}")
        return list(names or self.table.rows)

    def load(self, again: bool = False) -> None:
        """Read the records. store.Mismatch if one that is asked for does not fit; `again` moves such ones aside."""
        self.records = {store.key(record): record for record in store.read(self.path)}
        unfit = []
        for key, job in self.all_jobs().items():
            if key not in self.records:
                continue
            try:
                store.check(self.records[key], *self.expected(job), self.path)
            except store.Mismatch:
                if not again:
                    raise
                unfit.append(self.records[key])
        if unfit:
            with store.only_writer(self.lock):
                store.put_aside(self.path, unfit)
            self.load(again)  # with other records gone, tuning may choose another setting

    def expected(self, job: Job) -> tuple[dict, dict]:
        """Settings and behavior with which a record of this run must have been made."""
        kind = _runs(self.table)
        return {"content": trial.content(job.dataset, self.root), **kind.settings(job)}, kind.versions(job)

    # -- what is to be done

    def jobs(self) -> list[Job]:
        """The runs that can be started now: tuning first, final runs of the rows whose setting is chosen."""
        return [job for key, job in self.all_jobs().items() if key not in self.records]

    def all_jobs(self) -> dict[tuple, Job]:
        """{key of the record: run} of all runs that are known: those of rows not tuned yet come when they are."""
        found = {}
        for _, jobs in self._rows_of_datasets():
            for job in jobs:
                found.setdefault(tuning.key(job), job)
        return found

    def _rows_of_datasets(self):
        """For each row on each dataset: how many final runs are unknown yet, and the known runs."""
        for dataset in self.datasets:
            seeds = range(self.seeds or seeds_of(dataset))
            for row in self.rows:
                asked = self.name, self.size, dataset, row
                jobs = [job for of_setting in tuning.runs(*asked) for job in of_setting]
                chosen = tuning.chosen(*asked, self.records)
                if chosen is not None:
                    jobs += [Job(*asked, "final", seed, chosen.setting) for seed in seeds]
                yield 0 if chosen else len(seeds), jobs

    def total(self) -> int:
        """How many runs there are in all, tuning included: at most, while some rows are not tuned."""
        return len(self.all_jobs()) + sum(unknown for unknown, _ in self._rows_of_datasets())

    def done(self) -> int:
        """How many of the runs have their record."""
        return sum(key in self.records for key in self.all_jobs())

    def keep(self, job: Job, measured: dict, write: bool = True) -> None:
        """Take up what a run has measured, and write its record."""
        settings, behavior = self.expected(job)
        about = measured.pop("about")  # comes last in the line
        record = {
            "table": self.name,
            "size": self.size,
            **{name: value for name, value in asdict(job).items() if name not in ("table", "size")},
            **measured,
            "settings": settings,
            "behavior": behavior,
            "about": about,
        }
        if write:
            store.append(self.path, record)
        self.records[store.key(record)] = record


# ---- doing them


def measure(measurement: Measurement, jobs=1, device="auto", minutes=None, progress=True) -> int:
    """Do what is missing; returns how many runs were made.

    jobs: so many runs side by side, each in a process of its own, on a CPU with one thread. minutes: no run is started
    any more after so many. Under torchrun all its processes call this, share every run, and the first one keeps the
    records.
    """
    torchrun = running.world_size() > 1
    if torchrun and jobs > 1:
        raise ValueError(f"jobs: got {jobs}, expected 1 where several processes share each run")
    if MEETING in os.environ and not torch.distributed.is_initialized():
        _meet(device)
    first = not torchrun or int(os.environ["RANK"]) == 0
    with store.only_writer(measurement.lock) if first else nullcontext():
        measurement.load()  # another command may have added some
        options = measurement.root, device, measurement.path.parent
        return _measure(measurement, jobs, options, torchrun, first, minutes, progress)


def _measure(measurement, jobs, options, torchrun, first, minutes, progress):
    made = 0
    with (
        _Side(jobs, options) if jobs > 1 else _Here(options, torchrun) as runs,
        tqdm(total=measurement.total(), unit="run", disable=not (progress and first)) as bar,
    ):
        bar.update(measurement.done())
        while True:
            late = minutes is not None and runs.seconds >= 60 * minutes
            waiting = [] if late else [job for job in measurement.jobs() if job not in runs.in_hand]
            for job in waiting[: jobs - len(runs.in_hand)]:
                runs.start(job)
            if not runs.in_hand:
                return made
            for job, measured in runs.ended():
                bar.set_description(job.name())
                measurement.keep(job, measured, write=first)
                if first and (checkpoint := _checkpoint(job, *options)):
                    checkpoint.unlink(missing_ok=True)
                bar.update()
                made += 1


def share(measurement: Measurement, devices: int, device: str, words: list[str]) -> None:
    """`labkit measure` with these words, in so many processes that share each run, with what torchrun would tell them.

    Raises ValueError where that cannot be, RuntimeError when the processes fail.
    """
    if running.world_size() > 1:
        raise ValueError(f"devices: got {devices}, but torchrun has started the processes already")
    if measurement.table.runs == "ensembling":
        raise ValueError(f"devices: got {devices}, expected 1: a run of an ensemble is not shared by processes")
    for dataset in measurement.datasets:
        job = Job(measurement.name, measurement.size, dataset, measurement.rows[0], "final", 0, 0)
        trial.check_shared(job, measurement.root, device)
    with tempfile.TemporaryDirectory(prefix="labkit-") as folder:
        started = [_share_of(rank, devices, Path(folder, "meeting"), words) for rank in range(devices)]
        try:
            while any(process.poll() is None for process in started) and not any(p.returncode for p in started):
                time.sleep(0.1)
        except KeyboardInterrupt:
            [process.wait() for process in started]  # Ctrl-C has reached them too
            raise
        finally:
            status = next((process.returncode for process in started if process.returncode), 0)
            [process.terminate() for process in started]  # one has failed, and the others would wait for it
            [process.wait() for process in started]
    if status:
        raise RuntimeError(f"the processes have ended with status {status}; see above")


def _share_of(rank, devices, meeting, words):
    """Start one of the processes. They meet in a file and speak over the loopback, so that nobody else can join."""
    loopback = next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": devices, "LOCAL_WORLD_SIZE": devices}
    environment = {
        "OMP_NUM_THREADS": "1",  # on a CPU the processes are the threads
        **os.environ,
        **{name: str(number) for name, number in numbers.items()},
        **{"TORCHELASTIC_RUN_ID": "labkit", MEETING: str(meeting)},
        **{"GLOO_SOCKET_IFNAME": loopback, "NCCL_SOCKET_IFNAME": loopback},
    }
    return subprocess.Popen([sys.executable, "-P", "-m", "course", "measure", *words], env=environment)


def _meet(device):
    """Connect this process with the others that `share` has started."""
    backend = "gloo" if running.choose_device(device).type == "cpu" else "nccl"
    numbers = {"rank": int(os.environ["RANK"]), "world_size": running.world_size()}
    torch.distributed.init_process_group(backend, init_method=Path(os.environ[MEETING]).as_uri(), **numbers)
    atexit.register(disconnect)


def _runs(table):
    return tuning.KINDS[table.runs]


def _run(job, root, device, folder):
    """What a run has measured, and what it ran on."""
    table, chosen = table_named(job.table), running.choose_device(device)
    path = _checkpoint(job, root, device, folder)
    measured = _runs(table).run(job, root, device, **({"checkpoint": path} if path else {}))
    about = records.about()
    if chosen.type == "cpu":
        about["device"] = "cpu"
    asked = trial.precision(job.size, chosen) if table.runs == "trial" else "auto"
    return {**measured, "about": {**about, "precision": running.choose_precision(asked, chosen)}}


def _checkpoint(job, root, device, folder):
    """Where a run that takes hours, one of full size on a CPU, is saved on the way; None for all others.

    The name stands for everything that decides the run, so that it is never gone on with in another way.
    """
    if (job.size, running.choose_device(device).type, table_named(job.table).runs) != ("full", "cpu", "trial"):
        return None
    folder.mkdir(parents=True, exist_ok=True)
    decided = [trial.content(job.dataset, root), trial.settings(job), trial.versions(job), running.world_size()]
    decided = json.dumps([asdict(job), *decided], sort_keys=True)
    return folder / f"{job.table}_{hashlib.sha256(decided.encode()).hexdigest()[:12]}.ckpt"


class _Here:
    """Runs one after the other in this process, or together with the other processes of torchrun."""

    def __init__(self, options, torchrun):
        self.options, self.torchrun, self.in_hand = options, torchrun, []
        self.started, self.seconds = time.monotonic(), 0.0

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def start(self, job):
        self.in_hand.append(job)

    def ended(self):
        job = self.in_hand.pop()
        measured = _run(job, *self.options)
        self.seconds = time.monotonic() - self.started
        if self.torchrun:  # all go by what the first process has measured, and by its clock
            shared = [measured, self.seconds]
            torch.distributed.broadcast_object_list(shared)
            measured, self.seconds = shared
        return [(job, measured)]


class _Side:
    """Runs side by side, each in a process that takes one after the other."""

    def __init__(self, count, options):
        context = multiprocessing.get_context("spawn")
        # Nobody writes to this pipe. It ends when this process closes it or is killed, and with it the workers leave.
        listening, self.alive = context.Pipe(duplex=False)
        self.pool = ProcessPoolExecutor(count, context, _begin, (listening, options[1]))
        self.options, self.futures, self.started = options, {}, time.monotonic()

    def __enter__(self):
        return self

    def __exit__(self, kind, *error):
        if kind is not None:
            self.alive.close()
        self.pool.shutdown(cancel_futures=True)
        self.alive.close()

    @property
    def in_hand(self):
        return list(self.futures.values())

    @property
    def seconds(self):
        return time.monotonic() - self.started

    def start(self, job):
        with _blocked(signal.SIGINT):  # as it is then in a process that this starts; here it comes a moment later
            self.futures[self.pool.submit(_run, job, *self.options)] = job

    def ended(self):
        """Waits until at least one run has ended; pairs of job and what was measured, then what has failed."""
        done = wait(self.futures, return_when=FIRST_COMPLETED).done
        for future in sorted(done, key=lambda future: future.exception() is not None):
            job = self.futures.pop(future)
            try:
                measured = future.result()
            except BrokenProcessPool:
                names = ", ".join(each.name() for each in [job, *self.in_hand])
                raise RuntimeError(f"a process has ended unexpectedly; in hand were {names}") from None
            except Exception as error:
                said = "".join(traceback.format_exception(error))
                raise RuntimeError(f"{job.name()} failed:\n{said}") from None
            yield job, measured


@contextmanager
def _blocked(number):
    """Hold a signal back. Windows cannot."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(alive, device):
    """What a process of `_Side` does first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that was called
    tqdm.set_lock(threading.RLock())  # tqdm's own is a semaphore, which would outlive a process that leaves at once
    threading.Thread(target=_leave_with_parent, args=(alive,), daemon=True).start()
    if running.choose_device(device).type == "cpu":
        torch.set_num_threads(1)


def _leave_with_parent(alive):
    """A run whose record nobody would write is not finished."""
    with suppress(EOFError, OSError):
        alive.recv()
    os._exit(1)
