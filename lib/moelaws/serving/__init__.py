"""What serving costs, on paper: work of a step, time on a machine, dollars per token, and the plan that follows.

Nothing in ``touched``, ``served``, ``roofline``, ``calibration``, ``hardware``, ``shape``, ``latency``, ``cost``,
``bounded``, ``frontier``, ``forecasters``, ``plan`` and ``yun`` imports torch.
"""
