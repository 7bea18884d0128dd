"""What a long computation says it is at: stages inside stages, and the line on the terminal that shows them."""

import os
import subprocess
import sys

import pytest

from moelaws.stages import counted, stage, watched


def told(work):
    """What a watcher hears of some work."""
    heard = []
    with watched(lambda *said: heard.append(said)):
        work()
    return heard


def test_nobody_waits_nothing_happens():
    with stage("refits", 3) as done:
        done(1)
    assert list(counted("ab", "letters", 2)) == ["a", "b"]


def test_stages_are_told_down_to_the_outermost_that_counts():
    def work():
        with stage("fitting clark2022"):
            with stage("first descents", 2) as done:
                with stage("a descent", 9) as inner:
                    inner(5)
                done(1)
            with stage("shaking"):
                pass

    assert told(work) == [
        ("fitting clark2022", 0, None),
        ("fitting clark2022: first descents", 0, 2),
        ("fitting clark2022: first descents", 1, 2),
        ("fitting clark2022", 0, None),
        ("fitting clark2022: shaking", 0, None),
        ("fitting clark2022", 0, None),
        ("", 0, None),
    ]


def test_items_are_counted_when_they_are_done():
    assert told(lambda: list(counted("ab", "letters", 2)))[:3] == [
        ("letters", 0, 2),
        ("letters", 1, 2),
        ("letters", 2, 2),
    ]


def test_a_stage_that_fails_is_left():
    def work():
        with pytest.raises(ValueError, match="no"), stage("a", 2):
            raise ValueError("no")
        with stage("b"):
            pass

    assert told(work) == [("a", 0, 2), ("", 0, None), ("b", 0, None), ("", 0, None)]


PROGRAM = """
import sys, time
from moelaws.cli.progress_bar import shown_progress
from moelaws.stages import counted
with shown_progress(patience=0.2):
    print("first", flush=True)
    for i in counted(range(40), "weighing " + "[red]a\\x1b[5mb", 40):
        time.sleep(0.1)  # long enough for a busy machine to load what draws
        if i == 20:
            print("a word", file=sys.stderr, flush=True)
print("last", flush=True)
"""


def on_a_terminal(program, **environment):
    """Run a program whose standard error is a terminal; returns what it wrote there, and on standard output."""
    ours, theirs = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=theirs, env={**os.environ, **environment}
    ) as process:
        os.close(theirs)
        seen = b""
        while True:
            try:
                piece = os.read(ours, 4096)
            except OSError:  # the terminal's other end is closed
                break
            if not piece:
                break
            seen += piece
        printed = process.stdout.read()
    os.close(ours)
    assert process.returncode == 0
    return seen.decode(), printed.decode()


def test_the_bar_comes_after_silence_and_goes_before_a_word():
    seen, printed = on_a_terminal(PROGRAM, TERM="xterm")
    assert printed == "first\nlast\n"
    before, after = seen.split("a word")
    for part in (before, after):
        assert "weighing [red]a\\x1b[5mb" in part  # neither markup nor an escape of the file's
        assert "%" in part
    # The last things done before the word and at the end are to erase the line.
    assert before.endswith("\x1b[2K")
    assert after.endswith("\x1b[2K")
    assert "\x1b[?25l" not in seen  # the cursor is never hidden: who kills the command keeps it


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}])
def test_no_bar_on_a_dumb_terminal(environment):
    seen, printed = on_a_terminal(PROGRAM, **environment)
    assert (seen, printed) == ("a word\r\n", "first\nlast\n")


def test_no_bar_without_a_terminal():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("first\nlast\n", "a word\n")
