"""How sure a fit is: likelihood intervals, the bootstrap, profiles, and what the runs identify."""
