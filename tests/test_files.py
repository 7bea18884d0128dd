"""Writing files whole: through links, with modes kept, into devices and pipes, and never half."""

import errno
import os
import select
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from moelaws.files import check_beginning, check_writable, is_stream, write_whole

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links, modes and devices of POSIX")


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _alone(folder: Path, *names: str) -> bool:
    """Whether nothing but these is in a folder: no file half written is left behind."""
    return sorted(path.name for path in folder.iterdir()) == sorted(names)


def test_a_new_file_has_the_mode_of_the_umask(tmp_path: Path) -> None:
    for mask, mode in ((0o022, 0o644), (0o077, 0o600), (0o002, 0o664)):
        before = os.umask(mask)
        try:
            write_whole(tmp_path / f"{mask}", "text")
        finally:
            os.umask(before)
        assert _mode(tmp_path / f"{mask}") == mode


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o755])
def test_an_existing_file_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(mode)
    write_whole(path, "new")
    assert (path.read_text(), _mode(path)) == ("new", mode)
    assert _alone(tmp_path, "file")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root gives files away")
def test_an_existing_file_keeps_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    os.chown(path, 1234, 2345)
    write_whole(path, "new")
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 2345)


def test_a_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    target = tmp_path / "far" / "target"
    target.write_text("old")
    (tmp_path / "link").symlink_to("far/target")
    (tmp_path / "link to link").symlink_to(tmp_path / "link")
    write_whole(tmp_path / "link to link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "link to link").is_symlink()
    assert not target.is_symlink()
    assert target.read_text() == "new"


def test_a_link_to_nothing_yet_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("target")
    check_writable(tmp_path / "link")
    write_whole(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "new"
    (tmp_path / "lost").symlink_to("no/target")
    for write in (check_writable, lambda path: write_whole(path, "new")):
        with pytest.raises(FileNotFoundError):
            write(tmp_path / "lost")


def test_a_file_that_begins_otherwise_is_somebodys(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content, ours in ((None, True), ("", True), ("head\nmore", True), ("head", False), ("other", False)):
        if content is not None:
            path.write_text(content)
        if ours:
            check_beginning(path, "head\n")
        else:
            with pytest.raises(FileExistsError, match="another file has this name"):
                check_beginning(path, "head\n")
    check_beginning(Path("/dev/stdout"), "head\n")


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"):
        write_whole(tmp_path / "a", "new")


def test_another_hard_link_keeps_the_old_text(tmp_path: Path) -> None:
    """As a backup of hard links needs; and a reader of either name finds a whole text."""
    path, backup = tmp_path / "file", tmp_path / "backup"
    path.write_text("old")
    os.link(path, backup)
    write_whole(path, "new")
    assert (path.read_text(), backup.read_text()) == ("new", "old")


def test_the_longest_name_goes(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    write_whole(path, "old")
    write_whole(path, "new")
    assert path.read_text() == "new"
    with pytest.raises(OSError, match="too long") as refusal:
        write_whole(tmp_path / ("n" * 256), "new")
    assert refusal.value.errno == errno.ENAMETOOLONG
    assert _alone(tmp_path, path.name)


def test_bytes_and_text_are_written_as_they_are(tmp_path: Path) -> None:
    write_whole(tmp_path / "text", "naïve\r\n×\n")
    assert (tmp_path / "text").read_bytes() == "naïve\r\n×\n".encode()
    write_whole(tmp_path / "bytes", b"\x00\xff\r\n")
    assert (tmp_path / "bytes").read_bytes() == b"\x00\xff\r\n"


def test_folders_and_missing_ones_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("old")
    for path, error in (
        (tmp_path / "folder", IsADirectoryError),
        (tmp_path / "none" / "file", FileNotFoundError),
        (tmp_path / "file" / "file", NotADirectoryError),
    ):
        with pytest.raises(error):
            check_writable(path)
        with pytest.raises(error):
            write_whole(path, "new")
    assert _alone(tmp_path, "folder", "file")
    assert (tmp_path / "file").read_text() == "old"


@contextmanager
def _as_nobody() -> Iterator[None]:
    """Without root's privilege to write everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that any user may reach and write to."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


def test_what_is_write_protected_stays(open_folder: Path) -> None:
    path = open_folder / "file"
    path.write_text("old")
    path.chmod(0o444)
    with _as_nobody():
        for write in (check_writable, lambda path: write_whole(path, "new")):
            with pytest.raises(PermissionError):
                write(path)
        open_folder.joinpath("mine").write_text("old")
        write_whole(open_folder / "mine", "new")
    open_folder.chmod(0o555)
    with _as_nobody():
        for write in (check_writable, lambda path: write_whole(path, "new")):
            with pytest.raises(PermissionError):
                write(open_folder / "other")
    assert path.read_text() == "old"
    assert _alone(open_folder, "file", "mine")
    open_folder.chmod(0o777)


def test_devices_are_written_to(tmp_path: Path, devices: Path) -> None:
    write_whole(devices / "null", "text")
    assert (devices / "null").is_char_device()
    (tmp_path / "link").symlink_to(devices / "null")
    check_writable(tmp_path / "link")
    write_whole(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink()
    assert (devices / "null").is_char_device()
    assert _alone(tmp_path, "link")


def test_a_full_device_is_said_to_be(devices: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        write_whole(devices / "full", "text")


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert _alone(tmp_path, "file")


def test_a_pipe_is_written_to_and_one_that_nobody_reads_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert is_stream(pipe)
    with pytest.raises(OSError, match="nothing reads from this pipe"):
        write_whole(pipe, "text")
    text = "text" * 100_000  # more than a pipe holds
    handle = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(handle, True)
    writer = threading.Thread(target=write_whole, args=(pipe, text))
    with open(handle) as file:
        writer.start()
        assert select.select([handle], [], [], 60)[0]  # or the file would end before it began
        assert file.read() == text
    writer.join(60)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_standard_output_is_written_to_wherever_it_leads(tmp_path: Path) -> None:
    """Also to a file: opened a second time, that would lose what was printed before or after."""
    out = tmp_path / "out"
    code = (
        "from pathlib import Path\nfrom moelaws.files import write_whole\n"
        "print('before')\nwrite_whole(Path('/dev/stdout'), 'written\\n')\nprint('after')\n"
        "write_whole(Path('/dev/fd/1'), 'again\\n')\n"
    )
    with out.open("w") as file:
        subprocess.run([sys.executable, "-c", code], stdout=file, check=True)
    assert out.read_text() == "before\nwritten\nafter\nagain\n"
    piped = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    assert piped.stdout == "before\nwritten\nafter\nagain\n"
    with pytest.raises(OSError, match="Bad file descriptor"):
        check_writable(Path("/dev/fd/987"))


KILLED = """
import os, signal, sys
from pathlib import Path
from moelaws.files import write_whole
texts = ["a" * 300_000, "b" * 200_000]
print("ready", flush=True)
while True:
    for text in texts:
        write_whole(Path(sys.argv[1]), text)
"""


def test_a_reader_finds_one_text_or_the_other_whatever_is_killed_when(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, "a" * 300_000)
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            for _ in range(50):
                assert len(set(path.read_text())) == 1
            process.kill()
        assert path.stat().st_size in (200_000, 300_000)
        assert len(set(path.read_text())) == 1
