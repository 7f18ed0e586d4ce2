"""The processes that fit together, one a device, however they were begun: here, by torchrun, or by Slurm.

Lightning Fabric finds out where we are, begins the processes and lets them find each other. The leader does all else of
a run alone; the others wait until it calls them to a piece of work, which then every process does on its own cases.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch.distributed import is_torchelastic_launched
from torch.multiprocessing.spawn import ProcessException, ProcessExitedException

from heartmend.compute.ranks import Ranks
from heartmend.errors import ConfigError, FitError, HeartmendError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Tell = Callable[..., None]
PATIENCE = timedelta(days=14)
"""How long the others wait for the leader, which prepares a data set meanwhile."""
_KEPT = "what it had reached is kept in its last checkpoint: give the same command again to go on from there"


Work = Callable[[Ranks, Any, Any], Any]
"""What every process does: a function of a module's top level. It is given the ranks, the job, and what to call with
what there is to tell, if it is to tell anything; what the leader's comes to is what `ProcessGroup.call` returns."""


class ProcessGroup:
    """`call` does a piece of work on every process and returns what the leader's came to."""

    def __init__(self, device: str = "cpu", devices: int = 1, fabric: Fabric | None = None) -> None:
        """device: cpu, cuda or one such as cuda:1; devices: processes to begin on this machine for each call;
        fabric: the processes are there already."""
        self.device, self.devices, self._fabric = device, devices, fabric
        self._cut_off = False

    @property
    def is_main(self) -> bool:
        """Whether this process does what only one may do."""
        return self._fabric is None or self._fabric.global_rank == 0

    def refuse_more_than(self, cases: int) -> None:
        """ConfigError when there are more processes than cases to share among them."""
        size = self.devices if self._fabric is None else self._fabric.world_size
        if size > cases:
            raise ConfigError(f"{size} devices are more than the {cases} cases that they share; give fewer --devices")

    def call(self, work: Work, job: Any, tell: Tell | None = None) -> Any:
        """Do `work` with `job` on every process; tell: called with what the leader's work tells.

        Raises what the work raises of our own errors, and FitError when a process died.
        """
        if self._fabric is not None:
            self._fabric.broadcast((work, job))
            return self._do(work, job, tell)
        if self.devices == 1:
            return work(Ranks(device=torch.device(self.device)), job, tell)
        return _on_new_processes(_fabric(self.device, self.devices), work, job, tell)

    def follow(self) -> None:
        """Do what the leader calls to, until it is done."""
        assert self._fabric is not None
        nothing: Any = None
        while (called := self._fabric.broadcast(nothing)) is not None:
            self._do(called[0], called[1], None)
        _part(self._fabric)

    def dismiss(self) -> None:
        """Let the others go, unless they were cut off in the middle of a work: then they wait for other words."""
        if self._fabric is not None and self.is_main and not self._cut_off:
            self._fabric.broadcast(None)
            _part(self._fabric)

    def _do(self, work: Work, job: Any, tell: Tell | None) -> Any:
        assert self._fabric is not None
        self._cut_off = True
        try:
            done = work(_ranks(self._fabric), job, tell)
            self._cut_off = False
            return done
        except RuntimeError as error:
            # What a lost connection raises has no class of its own.
            why = str(error).splitlines()[0]
            raise FitError(
                f"process {self._fabric.global_rank} of {self._fabric.world_size} of the fit could not go on ({why}); "
                f"another may have died; {_KEPT}"
            ) from error


@contextmanager
def process_group(device: str = "cpu", devices: int = 1) -> Iterator[ProcessGroup]:
    """The team of this command. Under torchrun and srun each process is one of it, and `devices` need not be given."""
    if devices < 1:
        raise ConfigError(f"--devices {devices}: give 1 or more")
    if (begun := _begun_outside()) is None:
        if devices > 1 and ":" in device:
            raise ConfigError(f"--device {device} is one device; with --devices {devices} give cuda or cpu")
        if device == "cuda" and devices > torch.cuda.device_count():
            raise ConfigError(f"--devices {devices}: this machine has {torch.cuda.device_count()} GPUs")
        yield ProcessGroup(device, devices)
        return
    here, machines = begun
    if devices not in (1, here):
        raise ConfigError(f"--devices {devices}: there are {here} processes on this machine; leave --devices away")
    fabric = _fabric(device.partition(":")[0], here, machines, begun_outside=True)
    fabric.launch()
    team = ProcessGroup(device, here, fabric)
    try:
        yield team
    finally:
        team.dismiss()


def _begun_outside() -> tuple[int, int] | None:
    """Processes on this machine, and machines, when torchrun or srun began more than one; else None."""
    if is_torchelastic_launched():
        here, everywhere = (int(os.environ[name]) for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
        return (here, everywhere // here) if everywhere > 1 else None
    # A batch script has the same variables but is no step.
    if "SLURM_STEP_ID" in os.environ and int(os.environ.get("SLURM_NTASKS", "1")) > 1:
        machines = int(os.environ.get("SLURM_NNODES", "1"))
        return int(os.environ["SLURM_NTASKS"]) // machines, machines
    return None


# It would tell of every process that begins.
logging.getLogger("lightning_fabric.utilities").setLevel(logging.WARNING)


def _fabric(device: str, devices: int, machines: int = 1, *, begun_outside: bool = False) -> Fabric:
    # A second to read, which a fit on one device is spared.
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment
    from lightning_fabric.strategies.ddp import DDPStrategy

    strategy = DDPStrategy(start_method="popen" if begun_outside else "spawn", timeout=PATIENCE)
    environment = None if begun_outside else LightningEnvironment()
    return Fabric(accelerator=device, devices=devices, num_nodes=machines, strategy=strategy, plugins=environment)


def _part(fabric: Fabric) -> None:
    """All have done; who simply ended would cut off one that is still listening."""
    fabric.barrier()
    dist.destroy_process_group()


def _ranks(fabric: Fabric) -> Ranks:
    return Ranks(fabric.global_rank, fabric.world_size, fabric.device)


def _on_new_processes(fabric: Fabric, work: Work, job: Any, tell: Tell | None) -> Any:
    """Begin the processes, pass on what they tell, and end all of them when one of them ends badly."""
    words = get_context("spawn").Queue()
    failures, results = list[HeartmendError](), list[Any]()

    def listen() -> None:
        while (word := words.get()) is not None:
            kind, what = word
            if kind == "told" and tell is not None:
                tell(*what)
            elif kind != "told":
                (failures if kind == "failed" else results).append(what)

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        with _own_environment():
            # Fabric looks into arguments, for what is to be moved; in a partial it looks for nothing.
            fabric.launch(partial(_work_on_rank, work=work, job=job, words=words))
    except ProcessException as error:
        words.put(None)
        listener.join()
        if failures:
            raise failures[0] from error
        raise FitError(f"{_death(error)} of {fabric.world_size} of the fit; {_KEPT}") from error
    words.put(None)
    listener.join()
    return results[0]


def _work_on_rank(fabric: Fabric, work: Work, job: Any, words: Any) -> None:
    """What comes of it goes through our own queue: Fabric's holds a few kilobytes, and waits when there are more."""

    def tell(*what: Any) -> None:
        words.put(("told", what))

    is_main = fabric.global_rank == 0
    try:
        done = work(_ranks(fabric), job, tell if is_main else None)
        if is_main:
            words.put(("done", done))
        _part(fabric)
    except HeartmendError as error:
        words.put(("failed", error))
        raise
    finally:
        words.close()
        words.join_thread()


def _death(error: ProcessException) -> str:
    if isinstance(error, ProcessExitedException):
        how = f"was killed by {error.signal_name}" if error.signal_name else f"ended with status {error.exit_code}"
        return f"process {error.error_index} {how}"
    last = next((line for line in reversed(str(error).splitlines()) if line.strip()), "")
    return f"process {error.error_index} failed ({last.strip()})"


@contextmanager
def _own_environment() -> Iterator[None]:
    """What Fabric leaves in the environment for its processes is not for what comes later."""
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
