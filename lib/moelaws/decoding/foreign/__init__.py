"""Other programs that decode our models, with the interface of ours: llama.cpp and transformers."""
