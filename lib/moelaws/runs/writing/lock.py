"""One writer at a time: a lock of the operating system on a file beside the table.

Not a marker file: whatever kills its process, the system gives the lock back. Made by hand, for three wishes at once:
the holder's name in the message, a refusal where the file system cannot lock, and a lock file that was deleted is
noticed. ``filelock`` fulfils the second, and would be one more package for those who only read tables.
"""

import errno
import hashlib
import os
import re
import socket
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

from moelaws.runs.reading.read import RunTableError

_HOLDER = re.compile(rb"(process \d+ on [^\r\n]*)?")
_LONGEST_NAME = 255  # bytes, on every file system in use
_PAUSE = 0.02


class TableInUseError(RuntimeError):
    """Another process is writing to the table."""


class TableLock:
    """The right to write to a table, from the moment it is made until ``close`` or the end of the process.

    Args:
        table: the file it is for, links followed; it need not exist, its folder must.
        wait: seconds to wait for another writer.

    Raises:
        TableInUseError: another process has it.
        RunTableError: the file system cannot lock, or a file of somebody's has the lock's name.
        OSError: the lock's file cannot be made.
    """

    def __init__(self, table: Path, wait: float = 0.0) -> None:
        self._table = table
        self._place = _place(table)
        self._file = self._take(wait)

    @property
    def closed(self) -> bool:
        """Whether it was given back."""
        return self._file.closed

    def keep(self) -> bool:
        """See to it that the lock still keeps others out, and take it anew where its file was deleted.

        Returns:
            Whether it had to be taken anew.

        Raises:
            TableInUseError: meanwhile another process has it.
        """
        if self._is_on_disk(self._file):
            return False
        lost, self._file = self._file, self._take(0.0)
        lost.close()
        return True

    def close(self) -> None:
        """Give it back, and remove its file."""
        if not self._file.closed:
            # Who waits with this very file in hand sees that it has no name any more, and opens the next.
            with suppress(OSError):  # Windows does not remove what is open
                if self._is_on_disk(self._file):
                    self._place.unlink()
            self._file.close()

    def _take(self, wait: float) -> IO[bytes]:
        deadline = time.monotonic() + wait
        while True:
            file = self._open()
            try:
                if not _lock(file):
                    if time.monotonic() > deadline:
                        raise self._refusal(file)
                elif self._is_on_disk(file):
                    self._sign(file)
                    return file
            except OSError as error:
                file.close()
                raise RunTableError(
                    f"{self._table.name}: the file system cannot lock the table ({error.strerror}), so two writers "
                    "could not be told apart; write to a local disk"
                ) from None
            except BaseException:
                file.close()
                raise
            file.close()
            time.sleep(_PAUSE)

    def _open(self) -> IO[bytes]:
        # A pipe of this name would be waited for; it is refused below.
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NONBLOCK", 0)
        file = os.fdopen(os.open(self._place, flags, 0o666), "r+b", buffering=0)
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            file.close()
            raise self._foreign()
        return file

    def _is_on_disk(self, file: IO[bytes]) -> bool:
        """Whether the file still has its name: locked or not, any other guards nothing."""
        try:
            return os.path.samestat(os.fstat(file.fileno()), os.stat(self._place))
        except FileNotFoundError:
            return False

    def _sign(self, file: IO[bytes]) -> None:
        """Say who holds it, for the one who is refused; a full disk must not stop a table from being opened."""
        if not _HOLDER.fullmatch(file.read(1000)):
            raise self._foreign()
        with suppress(OSError):
            file.seek(0)
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}".encode())

    def _refusal(self, file: IO[bytes]) -> TableInUseError:
        holder = b""
        with suppress(OSError):  # Windows lets nobody read what is locked
            file.seek(0)
            holder = file.read(300)
        named = f" ({holder.decode(errors='replace')})" if holder and _HOLDER.fullmatch(holder) else ""
        return TableInUseError(
            f"{self._table.name}: another process is writing to this table{named}; wait for it, or write to another "
            "file"
        )

    def _foreign(self) -> RunTableError:
        return RunTableError(f"{self._place}: a file of this name, which is no lock of moelaws, bars the table")


def _place(table: Path) -> Path:
    name = f"{table.name}.lock"
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = f"{hashlib.sha256(os.fsencode(table.name)).hexdigest()[:32]}.lock"
    return table.with_name(name)


def _lock(file: IO[bytes]) -> bool:
    """Lock an open file, if nobody else has."""
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES, errno.EWOULDBLOCK, errno.EDEADLK):
            return False
        raise
    return True
