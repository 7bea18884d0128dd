"""Writing files: whole or not at all, through links, and into devices and pipes rather than over them."""

import errno
import os
import secrets
import shutil
import stat
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

EXHAUSTED = frozenset({
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN,
    errno.ENXIO,
})  # fmt: skip
"""Numbers of errors that say what a machine has run out of (ENXIO: readers of a pipe); any other is about the name."""

_LONGEST_CHAIN = 40  # links in a row, as the system itself allows


def cache_folder() -> Path:
    """Where what was made once is kept, texts, models, code: ``$MOELAWS_CACHE``, or moelaws in the user's cache."""
    chosen = os.environ.get("MOELAWS_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "moelaws"


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file in one step: a reader finds the old file or the whole new one, whatever is killed when.

    A link stays and what it points to is replaced; an existing file keeps its mode and, where possible, its owner; a
    new one gets the mode that the umask leaves. Another hard link to the old file keeps the old text, as backups made
    of hard links need. A device, a pipe or an open file such as ``/dev/stdout`` is written to, not replaced.

    Args:
        path: where; its folder must exist.
        content: what; text is written as UTF-8, its line ends as they are.

    Raises:
        OSError: a folder in the place of the file or none around it, no permission, a full disk, a pipe that nobody
            reads; an existing file is as it was.
    """
    data = content.encode() if isinstance(content, str) else content
    if is_stream(path):
        _write_through(path, data)
        return
    old = _replaceable(path)
    target = Path(os.path.realpath(path))
    # A short name of its own: the target's may be as long as names can be.
    temporary = target.with_name(f".moelaws-{secrets.token_hex(8)}")
    # What replaces a private file must never be readable by others, not even before it has its mode.
    opener = None if old is None else partial(os.open, mode=0o600)
    try:
        with open(temporary, "xb", opener=opener) as file:
            file.write(data)
            file.flush()
            if old is not None:
                _take_after(target, temporary, old)
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


def create_file(path: Path, data: bytes, mode: int) -> None:
    """Make a file, whole or not at all, where there is none.

    Args:
        path: where; its folder must exist.
        data: its content.
        mode: its permissions.

    Raises:
        FileExistsError: there is one; it is not touched.
        OSError: no permission, or a full disk; nothing is left behind.
    """
    with path.open("xb") as file:
        try:
            os.chmod(path, mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            path.unlink(missing_ok=True)
            raise
    sync_folder(path.parent)


def check_beginning(path: Path, beginning: str) -> None:
    """Refuse a place where there is a file of somebody's: not empty, and not one that begins as ours do.

    Args:
        path: where ``write_whole`` is to write.
        beginning: of every file of this kind.

    Raises:
        FileExistsError: it is there; it is not touched.
        OSError: the place cannot be written to.
    """
    check_writable(path)
    if is_stream(path) or not path.exists():
        return
    with path.open("rb") as file:
        found = file.read(len(beginning.encode()))
    if found and found != beginning.encode():
        raise FileExistsError(errno.EEXIST, "another file has this name; name a new one, or remove it", str(path))


def check_writable(path: Path) -> None:
    """Find out before a long computation whether ``write_whole`` could write its result; nothing is touched.

    Raises:
        OSError: it could not, and why.
    """
    if is_stream(path):
        number = _descriptor(path)
        if number is not None:
            os.fstat(number)
        return
    _replaceable(path)
    check_folder(Path(os.path.realpath(path)).parent)


def check_folder(folder: Path) -> None:
    """Find out whether files can be made in a folder.

    Raises:
        OSError: there is none, or they cannot.
    """
    if not folder.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))
    if not _may(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))


def is_stream(path: Path) -> bool:
    """Whether a path is a device, a pipe or an open file of this process: written to, never read back or replaced."""
    if _descriptor(path) is not None:
        return True
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


class Signature(NamedTuple):
    """What tells a file that nobody touched from any other."""

    mode: int
    device: int
    inode: int
    size: int
    changed: int


def signature(found: os.stat_result) -> Signature:
    """The signature of a file, from what ``os.stat`` or ``os.fstat`` found."""
    return Signature(stat.S_IMODE(found.st_mode), found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def sync_folder(folder: Path) -> None:
    """Wait until a folder's entries are on the disk: a new file survives a power cut when its folder has been written.

    Raises:
        OSError: the folder cannot be read.
    """
    if os.name != "nt":
        entry = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(entry)
        finally:
            os.close(entry)


def _replaceable(path: Path) -> os.stat_result | None:
    """What there is under a path to be replaced; ``None`` for nothing yet."""
    try:
        old = os.stat(path)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(old.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    # A new file could be put in the place of one that its owner has protected; that it must not be is his wish.
    if not _may(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    return old


def _may(path: str | Path, what: int) -> bool:
    return os.access(path, what, effective_ids=os.access in os.supports_effective_ids)


def _take_after(target: Path, temporary: Path, old: os.stat_result) -> None:
    """Give the new file owner, mode and attributes of the old one, and the time of now."""
    if hasattr(os, "chown"):
        with suppress(OSError):  # only root gives files away
            os.chown(temporary, old.st_uid, old.st_gid)
    shutil.copystat(target, temporary)
    os.utime(temporary)


def _write_through(path: Path, data: bytes) -> None:
    for printed in (sys.stdout, sys.stderr):
        if printed is not None:
            printed.flush()  # what was printed before comes before
    number = _descriptor(path)
    if number is not None:
        # A second name of the same open file: opened anew, it would begin at its start, over what was printed.
        handle = os.dup(number)
    else:
        try:
            # A pipe without a reader would be waited for without end.
            handle = os.open(path, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0))
        except OSError as error:
            if error.errno == errno.ENXIO:
                raise OSError(errno.ENXIO, "nothing reads from this pipe", str(path)) from None
            raise
        if os.name != "nt":
            os.set_blocking(handle, True)
    with open(handle, "wb") as file:
        file.write(data)


def _descriptor(path: Path) -> int | None:
    """The number of the open file of this process that a path stands for, if it does."""
    place = os.fspath(path)
    # Where a process finds its open files by number: /dev/stdout and the shell's >(command) lead there.
    open_files = (f"/proc/{os.getpid()}/fd", "/dev/fd")
    for _ in range(_LONGEST_CHAIN):
        folder, name = os.path.split(os.path.abspath(place))
        if os.path.realpath(folder) in open_files and name.isdecimal():
            return int(name)
        if not os.path.islink(place):
            return None
        place = os.path.join(folder, os.readlink(place))
    return None
