"""How the tables of models made of models were recorded: compressed, blended, with two networks a layer."""
