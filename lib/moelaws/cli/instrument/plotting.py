"""``--plot FILE``: the figure of a result, as a picture or a page."""

import argparse
from pathlib import Path
from typing import Any

from moelaws.cli.values import path


def add_plot(parser: argparse.ArgumentParser) -> None:
    """Add ``--plot`` to a command."""
    parser.add_argument("--plot", type=path, metavar="FILE", help="draw the result into this .svg, .png or .html file")


def check_plot(place: Path | None) -> None:
    """Find out before the work whether the figure could be written, see ``check_chart``."""
    if place is not None:
        # Altair takes longer to load than most commands take without a figure.
        from moelaws.charts.chart_file import check_chart

        check_chart(place)


def write_plot(place: Path, chart: Any) -> None:
    """Write the figure."""
    from moelaws.charts.chart_file import save_chart

    save_chart(chart, place)
