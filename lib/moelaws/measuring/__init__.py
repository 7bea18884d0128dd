"""Prefill and decode, measured: times, memory, and the experts that each step touches. Needs torch."""
