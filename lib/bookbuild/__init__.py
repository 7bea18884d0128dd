"""The book as a program: text notebooks are paired, executed, cached and bound into one static site.

The steps, in the order of their files: `pages.toc` says which pages there are, `pages.chapter` reads one, `pages.pairs`
writes its notebook, `pages.sizes` picks the sizes of a profile, `execute` runs it with papermill, `pages.outputs` says
what a page may show, `colophon` prints how it was made, `inputs` says what it depends on, `cache` keeps the result,
`notebooks` executes what has changed, `stage` lays the tree out for Jupyter Book, `site` renders and checks it,
`assets` brings the scripts that the pages need, and `build` is the whole way.
"""
