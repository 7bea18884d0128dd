"""What a trained model can do with text it has not seen. Needs torch."""
