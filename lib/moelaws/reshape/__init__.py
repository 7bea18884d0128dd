"""Models made of finished models: a mixture grown from a dense one, a smaller one made of a mixture. Needs torch."""
