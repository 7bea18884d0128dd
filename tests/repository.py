"""Where this repository lies, for tests that read its files: none counts folders up from its own place."""

from pathlib import Path

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
