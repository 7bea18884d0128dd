"""Checkpoints as GGUF files: the shape, the tensors and the tokenizer of a model in the terms of llama.cpp."""
