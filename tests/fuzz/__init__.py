"""Bad input by the thousand, for every command: what a slip of the finger, another tool or malice could hand over.

``files`` builds a folder of what is right (``good``) and what only looks like it (``nasty``). ``inputs`` lists command
lines from a seed and the parser itself: a new option is tried without a word here. ``run`` carries one out in a forked
process, ``verdict`` says what is wrong with how it ended. ``python -m fuzz`` runs all, ``test_fuzz.py`` a sample.
"""
