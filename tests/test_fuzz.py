"""Bad input for every command: no traceback, no hang, a short sentence, no file changed (``tests/fuzz``)."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from fuzz import nasty, run
from fuzz.command import Input
from fuzz.inputs import every
from fuzz.options import kind_of, options_of
from fuzz.programs import make_parser
from fuzz.run import Ending
from fuzz.verdict import objections
from fuzz.words import BASES, OUTPUTS
from repository import TESTS
from small_sweep import until

FINE = Ending(2, "", "moelaws: error: x.csv: no such file\n", 0.1, 100, (), False, False)


def _fuzz(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fuzz", *arguments], capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(1800)
def test_a_sample_of_bad_input() -> None:
    _fuzz("--sample", "30")


def test_what_waits_for_a_processor_is_not_hung(monkeypatch: pytest.MonkeyPatch) -> None:
    starved = 100.0
    monkeypatch.setattr(run, "_starved", lambda group: starved)
    assert [run._is_hung(1, seconds) for seconds in (59.0, 61.0, 159.0, 161.0, 601.0)] == [False] * 3 + [True] * 2


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="asks Linux")
def test_two_that_share_a_processor_wait_for_it() -> None:
    core = min(os.sched_getaffinity(0))
    spin = f"import os, time\nos.sched_setaffinity(0, [{core}])\nwhile time.process_time() < 0.4: pass\ntime.sleep(60)"
    both = [subprocess.Popen([sys.executable, "-c", spin], start_new_session=True) for _ in range(2)]
    try:
        until(lambda: run._starved(both[0].pid) + run._starved(both[1].pid) > 0.2, "two that waited for each other")
        assert run._starved(os.getpid() + 1_000_000_000) == 0
    finally:
        for each in both:
            each.kill()
            each.wait()


@pytest.fixture(scope="module")
def all_inputs() -> tuple[Input, ...]:
    return tuple(every(make_parser()))


def test_inputs_are_the_same_for_the_same_seed_and_reach_every_option(all_inputs: tuple[Input, ...]) -> None:
    parser, inputs = make_parser(), list(all_inputs)
    for kept in (nasty.tables, nasty.others):  # says nothing of what is made
        kept.cache_clear()
    assert inputs == every(parser)
    assert inputs != every(parser, seed=1)
    assert len(inputs) >= 600
    words = {word.partition("=")[0] for one in inputs for word in one.argv}
    for command, action in options_of(parser):
        assert command in BASES or command == "book", f"fuzz.words.BASES has no line for {command}"
        if action.option_strings and kind_of(action) != "flag":
            assert action.option_strings[-1] in words, f"{action.option_strings[-1]} of {command} is never tried"
    assert min(Counter(one.command for one in inputs if one.command in BASES).values()) >= 50


def test_inputs_name_no_device_or_folder_of_the_system_to_write_to(all_inputs: tuple[Input, ...]) -> None:
    for one in all_inputs:
        pairs = [*zip(one.argv, one.argv[1:], strict=False), *(word.partition("=")[::2] for word in one.argv)]
        assert not [value for option, value in pairs if option in OUTPUTS and value.startswith("/")], one.argv


@pytest.mark.parametrize(
    ("ending", "objection"),
    [
        (FINE, None),
        (Ending(70, "", "moelaws: internal error: x\n", 0.1, 100, (), False, False), "exit code 70"),
        (Ending(1, "", "Traceback (most recent call last):\n", 0.1, 100, (), False, False), "'Traceback' on"),
        (Ending(-9, "", "", 60.1, 100, (), True, False), "hung"),
        (Ending(2, "", "x" * 401 + "\n", 0.1, 100, (), False, False), "a message of 401 characters"),
        (Ending(2, "", "one\ntwo\n", 0.1, 100, (), False, False), "2 lines on standard error"),
        (Ending(2, "read\n", "moelaws: error: no\n", 0.1, 100, (), False, False), "output before a refusal"),
        (Ending(2, "", "\x1b[31mred\n", 0.1, 100, (), False, False), "control characters on standard error"),
        (Ending(0, "\x1b[31mred\n", "", 0.1, 100, (), False, False), "control characters on standard output"),
        (Ending(0, "", "x.py:1: RuntimeWarning: divide\n", 0.1, 100, (), False, False), "'Warning:' on"),
        (Ending(2, "", "moelaws: error: no\n", 0.1, 2001, (), False, False), "2001 MB"),
        (Ending(2, "", "moelaws: error: no\n", 0.1, 100, ("good.csv",), False, False), "changed 'good.csv'"),
        (Ending(2, "", "moelaws: error: no\n", 0.1, 100, ("out.json",), False, False), "changed 'out.json'"),
        (Ending(0, "", "", 0.1, 100, ("out.json",), False, False), None),
        (Ending(0, "", "", 0.1, 100, (), False, True), "processes left"),
    ],
)
def test_what_counts_as_wrong(ending: Ending, objection: str | None) -> None:
    found = objections(Input(("fit", "good.csv", "--json", "out.json"), "a test"), ending)
    if objection is None:
        assert found == []
    else:
        assert any(each.startswith(objection) for each in found), found


def test_what_can_only_be_wrong_must_be_refused() -> None:
    done = Ending(0, "", "", 0.1, 100, (), False, False)
    assert objections(Input(("fit",), "a test", refuse=True), done) == ["exit code 0 for what can only be wrong"]
