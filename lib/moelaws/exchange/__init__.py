"""Other people's formats: the ``config.json`` of published models, and files for other programs. No torch."""
