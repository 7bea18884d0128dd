"""Everything to try, the same for the same seed."""

import argparse
import random

from fuzz import handed_over, mutations, options
from fuzz.command import Input


def every(parser: argparse.ArgumentParser, seed: int = 0) -> list[Input]:
    """All inputs, in a fixed order."""
    rng = random.Random(seed)
    found = [*options.lines(parser), *options.rubbish(parser, rng), *options.knowing(parser)]
    found += [*handed_over.tables(rng), *handed_over.models(rng), *handed_over.steps(rng)]
    found += [*handed_over.sweeps(), *handed_over.imports(rng), *handed_over.fits()]
    found += handed_over.formulas(rng)
    found += mutations.tables(rng) + mutations.fits(rng) + mutations.configs(rng) + mutations.conditions(rng)
    return list(dict.fromkeys(found))
