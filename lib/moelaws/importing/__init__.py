"""Runs as other people's programs leave them: W&B, TensorBoard, Hugging Face's Trainer, Levanter, Marin."""
