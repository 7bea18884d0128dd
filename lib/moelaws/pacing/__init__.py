"""How long training takes: what a step is made of, what a device takes for each part, and models in equal time."""
