"""How far a law can see: laws asked, again and again, for the budget after those that they know. No torch."""
