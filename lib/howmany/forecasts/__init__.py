"""What the chapter on forecasts shows, and forecasts of sweeps written down before their runs."""
