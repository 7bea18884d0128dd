"""What the chapters on neighbouring papers show."""
