"""A process that loads once what chapters import, and divides into a kernel for each of them.

IPython, NumPy, SciPy, pandas, Altair and PyTorch take seconds of processor time before a chapter has said a word.
Nothing of the book or of its library is loaded here: a kernel reads that itself, and is watched while it does. Run as
a script, and with nothing but the standard library at its top: what it loads, each kernel has.
"""

import gc
import importlib
import json
import os
import signal
import socket
import sys
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any

LOADED = ("ipykernel.kernelapp", "ipykernel.ipkernel", "IPython.core.completer")
"""What every kernel imports."""

DEAR = ("numpy", "scipy.optimize", "scipy.stats", "scipy.interpolate", "pandas", "altair", "torch")
"""What takes longest of what chapters import."""

LAUNCHER = "ipykernel_launcher"


def loaded_for(packages: Collection[str]) -> tuple[str, ...]:
    """What a nursery is to load for chapters that import these packages, or of which the library does."""
    return (*LOADED, *(name for name in DEAR if name.partition(".")[0] in packages))


def main(line: int, names: Sequence[str]) -> None:
    """Load, and divide as often as asked; returns as a kernel that has done its work.

    Arguments:
        line: descriptor of the socket where orders come from. When the other end is closed, all kernels end.
        names: modules to load.
    """
    for name in names:
        with suppress(ImportError):  # not every book has all of them
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a kernel that collects garbage would write into each page of memory that it shares
    _become_kernel(_divide(socket.socket(fileno=line)))


def _divide(line: socket.socket) -> dict[str, Any]:
    """Answer until a kernel is asked for, and return in that kernel; the process itself ends here."""
    codes: dict[int, int | None] = {}
    with line.makefile("rw", encoding="utf-8") as orders:
        for text in orders:
            order = json.loads(text) | {"nursery": os.getpid()}
            if "ended" in order:
                answer = _look(codes, order["ended"])
            elif (answer := os.fork()) == 0:
                return dict(order)
            else:
                codes[answer] = None
            print(json.dumps(answer), file=orders, flush=True)
    for pid in codes:
        if _look(codes, pid) is None:
            with suppress(ProcessLookupError):  # it is not yet the first of its group
                os.killpg(pid, signal.SIGKILL)
            os.kill(pid, signal.SIGKILL)
    os._exit(0)


def _look(codes: dict[int, int | None], pid: int) -> int | None:
    """How a kernel ended, as `subprocess` would say it; None where it lives."""
    if codes[pid] is None and (ended := os.waitpid(pid, os.WNOHANG))[0]:
        codes[pid] = os.waitstatus_to_exitcode(ended[1])
    return codes[pid]


def _become_kernel(order: dict[str, Any]) -> None:
    """Be what a Python would be that was started with these arguments, in this environment and folder."""
    os.setsid()
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["folder"])
    # It ends when the nursery does. From the environment it would have been read when ipykernel was loaded.
    sys.argv = [LAUNCHER, *order["arguments"], f"--IPKernelApp.parent_handle={order['nursery']}"]
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()  # or kernels would draw the same numbers
    if "sitecustomize" in sys.modules:
        sys.modules["sitecustomize"].begin()
    importlib.import_module("ipykernel.kernelapp").launch_new_instance()


class Kernel:
    """A kernel of a nursery, to be handled as a `subprocess.Popen`."""

    stdin = stdout = stderr = None

    def __init__(self, nursery: "Nursery", pid: int) -> None:
        """Take a kernel that was started."""
        self._nursery, self.pid = nursery, pid

    def poll(self) -> int | None:
        """How it ended; None where it lives."""
        return self._nursery.ask({"ended": self.pid})

    def wait(self) -> int | None:
        """How it ended: nobody asks for it before it has."""
        return self.poll()

    def send_signal(self, number: int) -> None:
        """Send a signal to its process group."""
        os.killpg(self.pid, number)


class Nursery:
    """The process, as the builder sees it."""

    def __init__(self, python: Sequence[str], loaded: Sequence[str]) -> None:
        """Start it.

        Arguments:
            python: the interpreter and its options.
            loaded: modules that its kernels have loaded when they begin.
        """
        import subprocess

        self._line, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [*python, os.path.abspath(__file__), str(theirs.fileno()), *loaded], stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()], start_new_session=True,
                env={name: value for name, value in os.environ.items() if name != "MOELAWS_BOOK_LOG"},
            )  # fmt: skip
        self._orders = self._line.makefile("rw", encoding="utf-8")

    @property
    def is_alive(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    def kernel(self, arguments: Sequence[str], environment: dict[str, str], folder: str) -> Kernel:
        """Start a kernel.

        Arguments:
            arguments: of the kernel.
            environment: of the process.
            folder: where it works.

        Raises:
            OSError: the nursery has ended.
        """
        pid = self.ask({"arguments": list(arguments), "environment": environment, "folder": folder})
        if pid is None:
            raise OSError("the process that starts kernels has ended")
        return Kernel(self, pid)

    def ask(self, order: dict[str, Any]) -> Any:
        """The answer to an order; of a nursery that has ended, and its kernels with it, that they were killed."""
        try:
            print(json.dumps(order), file=self._orders, flush=True)
            return json.loads(self._orders.readline())
        except (OSError, ValueError):
            return -signal.SIGKILL if "ended" in order else None


def nursed(nursery: Nursery) -> Any:
    """The class of kernel managers whose kernels come from a nursery.

    Arguments:
        nursery: where from.
    """
    from jupyter_client import AsyncKernelManager
    from jupyter_client.provisioning import LocalProvisioner

    class Provisioner(LocalProvisioner):
        async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
            if LAUNCHER not in cmd:  # a kernel of the reader's own
                return await super().launch_kernel(cmd, **kwargs)
            folder = kwargs.get("cwd") or os.getcwd()
            arguments = cmd[cmd.index(LAUNCHER) + 1 :]
            kernel: Any = nursery.kernel(arguments, kwargs["env"], str(folder))
            self.process, self.pid, self.pgid = kernel, kernel.pid, kernel.pid
            return self.connection_info

    class Manager(AsyncKernelManager):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.provisioner = Provisioner(kernel_id="", kernel_spec=self.kernel_spec, parent=self)

    return Manager


if __name__ == "__main__":
    del sys.path[0]  # the folder of this script, which no kernel has on its path
    main(int(sys.argv[1]), sys.argv[2:])
