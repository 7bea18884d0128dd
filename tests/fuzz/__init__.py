"""Bad input by the hundred, for every command: what a slip of the finger, another tool or malice could hand over.

``files`` builds a folder of good and nasty files, ``inputs`` and ``mutations`` make command lines from a seed and the
parser itself (a new option is covered without a word here), ``run`` carries one out in a forked process, ``verdict``
says what is wrong with how it ended. ``python -m fuzz`` runs all of it, ``test_fuzz.py`` a sample.
"""
