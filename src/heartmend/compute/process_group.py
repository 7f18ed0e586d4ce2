"""Process group of a fit: processes that fit one model together, one per device.

They are started here, by torchrun or by Slurm; Lightning Fabric detects which, and connects them. The main process does
everything else of a run alone. The others wait until it calls a function, which then every process executes for its own
cases.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from multiprocessing import active_children, get_context
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch.distributed import is_torchelastic_launched
from torch.multiprocessing.spawn import ProcessException, ProcessExitedException

from heartmend.compute.process_lifetime import end_with_parent
from heartmend.compute.ranks import Ranks
from heartmend.errors import ConfigError, FitError, HeartmendError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Report = Callable[..., None]
"""Called on the main process with whatever the work reports."""
Work = Callable[[Ranks, Any, Report | None], Any]
"""Function at the top level of a module that every process executes.

Its arguments are the ranks, the job, and on the main process a function for reports or None. `ProcessGroup.call`
returns the result of the main process.
"""
TIMEOUT = timedelta(days=14)
"""Limit for the wait of the other processes, during which the main process prepares a data set."""
_CONTINUE = "its progress is stored in the last checkpoint: give the same command again to continue from there"


class ProcessGroup:
    """Processes that fit together.

    Attributes:
        device: cpu, cuda, or one device such as cuda:1.
        devices: number of processes on this machine.
    """

    def __init__(self, device: str = "cpu", devices: int = 1, fabric: Fabric | None = None) -> None:
        """Create a group.

        Args:
            device: cpu, cuda, or one device such as cuda:1.
            devices: number of processes that are started on this machine for each call.
            fabric: the connection of processes that exist already; None: processes are started for each call.
        """
        self.device, self.devices, self._fabric = device, devices, fabric
        self._is_interrupted = False

    @property
    def is_main(self) -> bool:
        """Whether this is the main process, which reads and writes the run."""
        return self._fabric is None or self._fabric.global_rank == 0

    def check_size(self, cases: int) -> None:
        """Check that every process gets a case.

        Args:
            cases: number of cases.

        Raises:
            ConfigError: if there are more processes than cases.
        """
        size = self.devices if self._fabric is None else self._fabric.world_size
        if size > cases:
            raise ConfigError(f"{size} devices are more than the {cases} cases that they share; give fewer --devices")

    def call(self, work: Work, job: Any, report: Report | None = None) -> Any:
        """Execute a function on every process.

        Args:
            work: the function.
            job: its second argument; it is pickled.
            report: called with the reports of the main process.

        Returns:
            The result of the main process.

        Raises:
            HeartmendError: if the work raises it.
            FitError: if a process died.
        """
        if self._fabric is not None:
            self._fabric.broadcast((work, job))
            return self._execute(work, job, report)
        if self.devices == 1:
            return work(Ranks(device=torch.device(self.device)), job, report)
        return _call_on_new_processes(_fabric(self.device, self.devices), work, job, report)

    def serve(self) -> None:
        """Execute the calls of the main process until it closes the group; for the other processes."""
        assert self._fabric is not None
        # This process writes no files, and in the wait for a call Python would not handle a signal.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
        nothing: Any = None
        while (call := self._fabric.broadcast(nothing)) is not None:
            self._execute(call[0], call[1], None)
        _disconnect(self._fabric)

    def close(self) -> None:
        """End the other processes, unless a call was interrupted: then they do not wait for a call."""
        if self._fabric is not None and self.is_main and not self._is_interrupted:
            self._fabric.broadcast(None)
            _disconnect(self._fabric)

    def _execute(self, work: Work, job: Any, report: Report | None) -> Any:
        assert self._fabric is not None
        self._is_interrupted = True
        try:
            result = work(_ranks(self._fabric), job, report)
            self._is_interrupted = False
            return result
        except RuntimeError as error:
            # The error of a lost connection has no class of its own.
            reason = str(error).splitlines()[0]
            raise FitError(
                f"process {self._fabric.global_rank} of {self._fabric.world_size} of the fit failed ({reason}); "
                f"another one may have died; {_CONTINUE}"
            ) from error


@contextmanager
def process_group(device: str = "cpu", devices: int = 1) -> Iterator[ProcessGroup]:
    """Provide the process group of this command.

    Args:
        device: cpu, cuda, or one device such as cuda:1.
        devices: number of processes on this machine; under torchrun and srun it may be left at 1.

    Yields:
        The group; under torchrun and srun each process is one of it.

    Raises:
        ConfigError: if the machine does not have these devices.
    """
    if devices < 1:
        raise ConfigError(f"--devices {devices}: give 1 or more")
    if (launched := _launched_processes()) is None:
        if devices > 1 and ":" in device:
            raise ConfigError(f"--device {device} is one device; with --devices {devices} give cuda or cpu")
        if device == "cuda" and devices > torch.cuda.device_count():
            raise ConfigError(f"--devices {devices}: this machine has {torch.cuda.device_count()} GPUs; give fewer")
        yield ProcessGroup(device, devices)
        return
    local, machines = launched
    if devices not in (1, local):
        raise ConfigError(f"--devices {devices}: {local} processes were started on this machine; remove --devices")
    fabric = _fabric(device.partition(":")[0], local, machines, is_launched=True)
    fabric.launch()
    group = ProcessGroup(device, local, fabric)
    try:
        yield group
    except Exception:
        # After Ctrl-C or SIGTERM the launcher ends all processes.
        group.close()
        raise
    group.close()


def _launched_processes() -> tuple[int, int] | None:
    """Processes on this machine, and machines, when torchrun or srun started more than one process; else None."""
    if is_torchelastic_launched():
        local, total = (int(os.environ[name]) for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
        return (local, total // local) if total > 1 else None
    # A batch script has the same variables, but it is not a step.
    if "SLURM_STEP_ID" in os.environ and int(os.environ.get("SLURM_NTASKS", "1")) > 1:
        machines = int(os.environ.get("SLURM_NNODES", "1"))
        return int(os.environ["SLURM_NTASKS"]) // machines, machines
    return None


# It logs every process that starts.
logging.getLogger("lightning_fabric.utilities").setLevel(logging.WARNING)


def _fabric(device: str, devices: int, machines: int = 1, *, is_launched: bool = False) -> Fabric:
    # The import takes a second, which a fit on one device does not need.
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment
    from lightning_fabric.strategies.ddp import DDPStrategy

    strategy = DDPStrategy(start_method="popen" if is_launched else "spawn", timeout=TIMEOUT)
    environment = None if is_launched else LightningEnvironment()
    return Fabric(accelerator=device, devices=devices, num_nodes=machines, strategy=strategy, plugins=environment)


def _disconnect(fabric: Fabric) -> None:
    """Disconnect all processes together, because one that still receives would fail when another one ends."""
    fabric.barrier()
    dist.destroy_process_group()


def _ranks(fabric: Fabric) -> Ranks:
    return Ranks(fabric.global_rank, fabric.world_size, fabric.device)


def _call_on_new_processes(fabric: Fabric, work: Work, job: Any, report: Report | None) -> Any:
    """Start the processes, pass on their reports, and end all of them when one fails."""
    messages = get_context("spawn").Queue()
    failures, results = list[HeartmendError](), list[Any]()

    def receive() -> None:
        while (message := messages.get()) is not None:
            kind, content = message
            if kind == "report" and report is not None:
                report(*content)
            elif kind != "report":
                (failures if kind == "failure" else results).append(content)

    receiver = threading.Thread(target=receive, daemon=True)
    receiver.start()
    others = set(active_children())
    try:
        with _restored_environment():
            # Fabric searches the arguments for objects to move to the device; it does not search a partial.
            fabric.launch(partial(_work_on_rank, work=work, job=job, messages=messages))
    except ProcessException as error:
        messages.put(None)
        receiver.join()
        if failures:
            raise failures[0] from error
        raise FitError(f"{_failure(error)} of {fabric.world_size} of the fit; {_CONTINUE}") from error
    except BaseException:
        # Ctrl-C and SIGTERM; at exit Python would wait for the end of the fit.
        for process in set(active_children()) - others:
            process.kill()
        raise
    messages.put(None)
    receiver.join()
    return results[0]


def _work_on_rank(fabric: Fabric, work: Work, job: Any, messages: Any) -> None:
    """Send the result by our own queue: the pipe of Fabric holds a few kilobytes, and then blocks."""
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def report(*content: Any) -> None:
        messages.put(("report", content))

    is_main = fabric.global_rank == 0
    try:
        result = work(_ranks(fabric), job, report if is_main else None)
        if is_main:
            messages.put(("result", result))
        _disconnect(fabric)
    except HeartmendError as error:
        messages.put(("failure", error))
        raise
    finally:
        messages.close()
        messages.join_thread()


def _failure(error: ProcessException) -> str:
    if isinstance(error, ProcessExitedException):
        reason = f"was killed by {error.signal_name}" if error.signal_name else f"ended with status {error.exit_code}"
        return f"process {error.error_index} {reason}"
    last = next((line for line in reversed(str(error).splitlines()) if line.strip()), "")
    return f"process {error.error_index} failed ({last.strip()})"


@contextmanager
def _restored_environment() -> Iterator[None]:
    """Restore the environment variables, because Fabric sets some for its processes."""
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
