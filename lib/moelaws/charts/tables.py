"""Tables on a page: numbers as text, so that every kind of page shows them alike."""

from collections.abc import Mapping

import pandas as pd


def readable(table: pd.DataFrame, default: str = "{:.3g}", forms: Mapping[str, str] | None = None) -> pd.DataFrame:
    """A table whose numbers are written out.

    Arguments:
        table: any table; text columns stay as they are.
        default: format of a number.
        forms: column -> its own format.

    Returns:
        A table of text, to be shown as it is; NaN is empty.
    """
    forms = forms or {}

    def write(column: pd.Series, form: str) -> pd.Series:
        return column.map(lambda number: "" if pd.isna(number) else form.format(number)).astype(object)

    written = {
        name: write(column, forms.get(str(name), default)) if pd.api.types.is_numeric_dtype(column) else column
        for name, column in table.items()
    }
    return pd.DataFrame(written, index=table.index)
