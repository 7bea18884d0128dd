"""What to train and how to serve it: a plan, how it is found, and how it is told; a plan of a model that is there."""
