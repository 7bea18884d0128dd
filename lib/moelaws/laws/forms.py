"""What a law is: a formula in a paper's own letters, the columns its variables are read from, what was published."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from moelaws.formulas import mathml
from moelaws.formulas.duals import Given, evaluate
from moelaws.formulas.evaluate import Array
from moelaws.formulas.folding import fold
from moelaws.formulas.latex import symbol, to_latex
from moelaws.formulas.parsing import Node, names, parse
from moelaws.laws.coefficients import Parameter, Published, Variable
from moelaws.quote import listed, plain, shown


class LawError(ValueError):
    """A law cannot be used as asked; the message names the law, and the column, parameter or variable."""


@dataclass(frozen=True)
class Law:
    """A scaling law.

    Attributes:
        name: author and year.
        formula: the prediction in the paper's letters, in the syntax of ``moelaws.formulas.parsing``.
        variables: what it is a function of.
        parameters: what is fitted, in the paper's order.
        definitions: name -> formula of quantities the formula uses, such as the saturating expert count Eh.
        published: name -> coefficients. Empty where the source printed none.
        source: paper and equation number.
        conventions: base of the logs, which N, and whatever else two readers could take differently.
        target: the column that the formula predicts.
    """

    name: str
    formula: str
    variables: tuple[Variable, ...]
    parameters: tuple[Parameter, ...]
    definitions: Mapping[str, str] = field(default_factory=dict)
    published: Mapping[str, Published] = field(default_factory=dict)
    source: str = ""
    conventions: str = ""
    target: str = "loss"

    def __post_init__(self) -> None:
        declared = {v.symbol for v in self.variables} | {p.name for p in self.parameters}
        if len(declared) < len(self.variables) + len(self.parameters):
            raise LawError(f"law {self.name!r}: a name is declared twice")
        used = set(names(self.tree))
        if used - declared:
            raise LawError(f"law {self.name!r}: {min(used - declared)!r} is neither a variable nor a parameter")
        if declared - used:
            raise LawError(f"law {self.name!r}: {min(declared - used)!r} does not occur in the formula")
        for key, coefficients in self.published.items():
            if set(coefficients) != set(self.parameter_names):
                raise LawError(f"law {self.name!r}: published set {key!r} does not hold exactly its parameters")

    @cached_property
    def tree(self) -> Node:
        """The formula, parsed."""
        return parse(self.formula, self.definitions)

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Names of the parameters, in order."""
        return tuple(p.name for p in self.parameters)

    def columns(self, available: Any) -> dict[str, str]:
        """Which column each variable is read from.

        Args:
            available: a table, or the names of its columns.

        Returns:
            Symbol -> column.

        Raises:
            LawError: a variable has no column.
        """
        present = list(available)
        chosen = {}
        for variable in self.variables:
            column = next((name for name in variable.columns if name in present), None)
            if column is None:
                wanted = " or ".join(map(shown, variable.columns))
                meaning = "" if variable.meaning in variable.columns else f", {variable.meaning}"
                raise LawError(
                    f"law {shown(self.name)} needs a column {wanted} ({plain(variable.symbol)}{meaning}); "
                    f"the table has {listed(present, variable.columns[0])}"
                )
            chosen[variable.symbol] = column
        return chosen

    def data(self, table: Any) -> dict[str, np.ndarray]:
        """Values of the variables: symbol -> array, from a table or a mapping of columns to numbers or arrays."""
        return {key: np.asarray(table[column], dtype=float) for key, column in self.columns(table).items()}

    def predict(self, params: Mapping[str, Array], table: Any) -> Any:
        """Predict the loss.

        Args:
            params: parameter -> value, or an array of values, in the paper's own units.
            table: a run table, or a mapping from column to number or array. Parameters and columns broadcast by
                numpy's rules: for R bootstrap replicates and n runs pass parameters of shape [R, 1].

        Returns:
            The loss in nats per token (or whatever ``target`` is), of the broadcast shape. nan where the law is not
            defined.

        Raises:
            LawError: a missing column or parameter.
        """
        return self._evaluate(params, table, frozenset()).value

    def gradient(self, params: Mapping[str, Array], table: Any) -> dict[str, Any]:
        """Exact derivatives of the prediction by every parameter.

        Args:
            params: as in ``predict``.
            table: as in ``predict``.

        Returns:
            Parameter -> derivative, of the shape ``predict`` returns.
        """
        dual = self._evaluate(params, table, frozenset(self.parameter_names))
        shape = np.shape(dual.value)
        return {name: np.broadcast_to(dual.parts.get(name, 0.0), shape) for name in self.parameter_names}

    def slopes(self, params: Mapping[str, Array], table: Any) -> dict[str, Any]:
        """Exact derivatives of the prediction by the variables.

        Args:
            params: as in ``predict``.
            table: as in ``predict``.

        Returns:
            Symbol -> derivative, per unit of the variable.
        """
        data = self.data(table)
        given = self._given(params)
        given |= {name: Given(values, bool(np.all(values > 0)), False) for name, values in data.items()}
        with np.errstate(all="ignore"):
            dual = evaluate(self.tree, given, frozenset(data))
        return {name: np.broadcast_to(dual.parts[name], np.shape(dual.value)) for name in data}

    def solve_for(
        self, symbol: str, target: Array, params: Mapping[str, Array], table: Any, between: tuple[float, float]
    ) -> Any:
        """The value of one variable at which the prediction reaches a target, the others given.

        Args:
            symbol: the variable's letter.
            target: the loss to reach.
            params: as in ``predict``.
            table: columns of the other variables.
            between: where to look; inside it the law must cross the target once. Both ends positive: the search is
                even in the log of the variable, otherwise in the variable.

        Returns:
            The variable's values, to machine precision.

        Raises:
            LawError: an unknown variable, or a target that is not reached between the ends.
        """
        found = [v for v in self.variables if v.symbol == symbol]
        if not found:
            raise LawError(
                f"law {self.name!r} has no variable {symbol!r}; it has {', '.join(v.symbol for v in self.variables)}"
            )
        column = found[0].columns[0]
        to, back = (np.log, np.exp) if between[0] > 0 else (np.asarray, np.asarray)
        others = {name: table[name] for name in table if name not in found[0].columns}

        def excess(point: Any) -> Any:
            return self.predict(params, others | {column: back(point)}) - target

        low, high = to(np.asarray(between[0], float)), to(np.asarray(between[1], float))
        at_low, at_high = excess(low), excess(high)
        if not np.all(np.sign(at_low) * np.sign(at_high) <= 0):
            raise LawError(
                f"law {self.name!r}: the target is not reached for {symbol} between {between[0]:g} and {between[1]:g}"
            )
        low, high = np.broadcast_to(low, at_low.shape), np.broadcast_to(high, at_low.shape)
        for _ in range(80):  # 80 halvings exhaust a double
            middle = 0.5 * (low + high)
            same = np.sign(excess(middle)) == np.sign(at_low)
            low, high = np.where(same, middle, low), np.where(same, high, middle)
        return back(0.5 * (low + high))

    def latex(self) -> str:
        """The law as LaTeX for math mode, definitions below the formula, so that a phone shows them, too."""
        left = "L" if self.target == "loss" else rf"\mathrm{{{self.target}}}"
        parts = {left: self.formula} | {symbol(name): text for name, text in self.definitions.items()}
        if len(parts) == 1:
            return f"{left} = {to_latex(parse(self.formula))}"
        lines = [f"{of} &= {to_latex(parse(text))}" for of, text in parts.items()]
        return r"\begin{aligned}" + r", \\ ".join(lines) + r"\end{aligned}"

    def mathml(self) -> str:
        """The law as MathML, whole: a browser shows it by itself. Definitions stand below the formula.

        >>> from moelaws.laws import law
        >>> law("separable").mathml()[:40]
        '<math display="block"><mrow><mi>L</mi><m'
        """
        left = "<mi>L</mi>" if self.target == "loss" else mathml.symbol(self.target)
        whole = {left: self.formula} | {mathml.symbol(name): text for name, text in self.definitions.items()}
        lines = [f"<mrow>{of}<mo>=</mo>{mathml.to_mathml(parse(text))}</mrow>" for of, text in whole.items()]
        if len(lines) == 1:
            return f'<math display="block">{lines[0]}</math>'
        rows = "".join(f"<mtr><mtd>{line}</mtd></mtr>" for line in lines)
        return f'<math display="block"><mtable columnalign="left" rowspacing="0.6em">{rows}</mtable></math>'

    def _given(self, params: Mapping[str, Array]) -> dict[str, Given]:
        missing = [name for name in self.parameter_names if name not in params]
        if missing:
            raise LawError(f"law {self.name!r}: no value for parameter {missing[0]!r}")
        return {p.name: Given(np.asarray(params[p.name], float), p.positive, False) for p in self.parameters}

    def _evaluate(self, params: Mapping[str, Array], table: Any, derivatives: frozenset[str]) -> Any:
        # A law evaluated outside its domain is nan; that is the answer, not a warning.
        with np.errstate(all="ignore"):
            tree = fold(self.tree, self.data(table))
            return evaluate(tree, self._given(params), derivatives)
