"""The whole book on paper: its pages as one document, printed by a browser."""
