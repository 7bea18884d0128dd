"""What an executed chapter depends on: modules it imports, files it names, and what was seen to be read.

`uses` reads a piece of code, `modules` follows its imports, `named` joins both for one chapter, `seen` reads what the
hook in `watch` wrote down while the chapter was executed, and `states` says what a file was like. `bytecode` makes what
the hook lets a kernel take.
"""
