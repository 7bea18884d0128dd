"""From executed chapters to a site: `stage` lays them out, `render` renders, `assets` and `icons` see to the scripts.

`rewritten` leaves pages as they are that nothing has changed. `place` looks the result over and puts it where readers
look; `exchange` is the one step in which that happens.
"""
