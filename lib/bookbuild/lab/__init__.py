"""The lab in the page: scripts that fit laws in the reader's browser, made of ``moelaws.laws`` and plain JavaScript."""
