"""What the runs on program text show: more compute, text read again, other settings, another device."""
