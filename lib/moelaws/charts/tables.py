"""Tables on a page: numbers as text, so that every kind of page shows them alike."""

import re
from collections.abc import Mapping

import pandas as pd


def readable(table: pd.DataFrame, default: str = "{:.3g}", forms: Mapping[str, str] | None = None) -> pd.DataFrame:
    """A table whose numbers are written out.

    Arguments:
        table: any table; text columns stay as they are.
        default: format of a number.
        forms: column -> its own format.

    Returns:
        A table of text, to be shown as it is; NaN is empty, 1.5e+03 is 1,500 and 1.5e+10 is 1.5e10.
        An index of such numbers is written, too.
    """
    forms = forms or {}

    def text(number: float, form: str) -> str:
        if pd.isna(number):
            return ""
        written = form.format(number).removesuffix(".")  # of {:#.3g}, which keeps zeros at the end
        if "e+" in written and abs(number) < 1e7 and written.endswith(tuple("0123456789")):
            return f"{float(written):,.0f}"
        return re.sub(r"e\+0*(?=\d)", "e", written)

    def write(column: pd.Series, form: str) -> pd.Series:
        return column.map(lambda number: text(number, form)).astype(object)

    written = {
        name: write(column, forms.get(str(name), default)) if pd.api.types.is_numeric_dtype(column) else column
        for name, column in table.items()
    }
    shown = pd.DataFrame(written, index=table.index)
    if pd.api.types.is_float_dtype(table.index):
        shown.index = table.index.map(lambda number: text(number, "{:g}"))
    return shown
