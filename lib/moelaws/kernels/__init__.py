"""Compiled passes over memory: what training and decoding on a CPU spend their time in."""
