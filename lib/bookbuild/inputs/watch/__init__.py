"""On the path of each kernel, so that its processes write down what they read."""
