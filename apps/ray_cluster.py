"""Ray, as a batch uses it: on this machine, started for one batch and gone after it, or elsewhere.

Each task is tried once by Ray; whether a dead worker's task is tried again is decided here, where
tries are counted and shown. What goes through Ray are paths and figures only, so the object store
has Ray's least size.

A Ray of our own can be used by whoever knows its token alone, although its ports are open.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from apps.batch_task import CRASHED, FAILED, BatchOutcome, BatchTask, run_task
from apps.usage import FailedError, one_line

STORE_BYTES = 75 * 2**20
"""The least that Ray takes."""
SETTLE_S = 10.0
"""How long cancelled tasks of a cluster may take to end."""


@dataclass(frozen=True, slots=True)
class TaskNeeds:
    """What one task takes of a machine."""

    cpus: float = 1.0
    gpus: float = 0.0


class RayCluster:
    """Tasks go in, outcomes come out; see `open_cluster`."""

    def __init__(self, ray: Any, needs: TaskNeeds) -> None:
        self._ray = ray
        self._needs = needs
        self._remote = ray.remote(
            num_cpus=needs.cpus, num_gpus=needs.gpus, max_retries=0, retry_exceptions=False
        )(run_task)
        self._running: dict[Any, tuple[BatchTask, int]] = {}

    def slots(self) -> int:
        """How many tasks run at once on the machines that are there now.

        Raises FailedError when none of them could ever run one.
        """
        count = 0
        most = (0.0, 0.0)
        alive = [node for node in self._ray.nodes() if node["Alive"]]
        if not alive:
            raise FailedError("Ray has no machine left; the same command goes on")
        for node in alive:
            has = node["Resources"].get("CPU", 0.0), node["Resources"].get("GPU", 0.0)
            most = max(most, has)
            fits = has[0] / self._needs.cpus if self._needs.cpus else float("inf")
            if self._needs.gpus:
                fits = min(fits, has[1] / self._needs.gpus)
            count += int(fits + 1e-6)
        if count < 1:
            raise FailedError(
                f"no machine has {self._needs.cpus:g} CPUs and {self._needs.gpus:g} GPUs for a "
                f"file; the largest has {most[0]:g} and {most[1]:g} (--cpus, --gpus)"
            )
        return count

    def submit(self, task: BatchTask, attempt: int) -> None:
        """Begin it as soon as there is room."""
        self._running[self._remote.remote(task, attempt)] = task, attempt

    @property
    def in_flight(self) -> int:
        """Tasks begun or waiting for room."""
        return len(self._running)

    def finished(self, timeout_s: float) -> Iterator[tuple[BatchTask, int, BatchOutcome]]:
        """What ended, with the try's number; nothing when nothing did in that time."""
        if not self._running:
            return
        ready, _ = self._ray.wait(list(self._running), num_returns=1, timeout=timeout_s)
        for reference in ready:
            task, attempt = self._running.pop(reference)
            yield task, attempt, self._outcome(reference)

    def _outcome(self, reference: Any) -> BatchOutcome:
        errors = self._ray.exceptions
        try:
            return self._ray.get(reference)
        except errors.RayTaskError as error:
            # The task never raises: this machine and that one do not understand each other.
            return BatchOutcome(FAILED, f"a worker could not begin it: {one_line(error.cause)}")
        except errors.OutOfMemoryError:
            return BatchOutcome(CRASHED, "its machine ran out of memory")
        except (errors.NodeDiedError, errors.LocalRayletDiedError, errors.ObjectLostError):
            return BatchOutcome(CRASHED, "its machine was lost")
        except errors.WorkerCrashedError:
            return BatchOutcome(CRASHED, "its worker was killed or crashed")
        except errors.RayError as error:
            return BatchOutcome(CRASHED, one_line(error)[:300])

    def cancel(self) -> None:
        """Stop what runs, and wait for its end for a while."""
        for reference in self._running:
            with contextlib.suppress(Exception):  # Whatever is wrong, the others are to be stopped.
                self._ray.cancel(reference, force=True)
        until = time.monotonic() + SETTLE_S
        with contextlib.suppress(Exception):
            self._ray.wait(
                list(self._running),
                num_returns=len(self._running),
                timeout=until - time.monotonic(),
            )
        self._running.clear()


@contextlib.contextmanager
def open_cluster(
    address: str | None = None, needs: TaskNeeds | None = None, cpus: int | None = None
) -> Iterator[RayCluster]:
    """A Ray of `cpus` CPUs (default: all) on this machine, or the one at `address`; one that this
    process is connected to already is used, and left running.

    Raises FailedError when Ray is not installed, cannot start, or is not to be found there.
    """
    ray = _quiet_ray(address)
    needs = needs or TaskNeeds()
    terminate = signal.getsignal(signal.SIGTERM)
    if ray.is_initialized():
        yield from _used(RayCluster(ray, needs))
        return
    with contextlib.ExitStack() as stack:
        quiet = {"log_to_driver": False, "logging_level": "ERROR"}
        try:
            if address is not None:
                stack.callback(ray.shutdown)
                ray.init(address=address, **quiet)
            else:
                # Ray's sockets lie in it: their paths may have 107 characters.
                home = tempfile.mkdtemp(prefix="visavis-ray-", dir="/tmp")
                stack.callback(shutil.rmtree, home, ignore_errors=True)
                stack.callback(ray.shutdown)
                ray.init(
                    address="local", num_cpus=cpus, include_dashboard=False, _temp_dir=home,
                    object_store_memory=STORE_BYTES, **quiet,
                )  # fmt: skip
        except Exception as error:
            raise FailedError(_why_not(address, error)) from error
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, terminate)  # Ray has put a handler of its own.
        yield from _used(RayCluster(ray, needs))


def _why_not(address: str | None, error: Exception) -> str:
    """Ray's own errors have many lines, of which the first says what was tried."""
    first = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
    if address is None:
        return f"Ray does not start on this machine: {first}"
    return (
        f"no Ray cluster to be used at {address}: {first} (one with tokens wants "
        "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN; its Ray and Python have to be as here)"
    )


def _used(cluster: RayCluster) -> Iterator[RayCluster]:
    try:
        yield cluster
    finally:
        cluster.cancel()


def _quiet_ray(address: str | None) -> Any:
    """The package: it sends nothing about its use to anybody, and prints nothing here.

    Raises FailedError when it is not installed.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Its notes on dead workers: ours say it in one line.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".*")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Each task does that itself.
    if address is None:
        os.environ.pop("RAY_ADDRESS", None)
        if "ray" not in sys.modules:  # It reads these as it is imported.
            os.environ.pop("RAY_AUTH_TOKEN_PATH", None)
            os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise FailedError(
            "batch runs through Ray, which is not installed: pip install 'visavis[cluster]'"
        ) from error
    return ray
