"""What the chapters on neighbouring papers show, and how their tables were recorded."""
