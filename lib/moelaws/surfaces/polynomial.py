"""The polynomial of an isoFLOP surface: its terms, a well-conditioned basis for them, the paper's coefficients back.

Abnar et al. 2025, Sec. 2 and App. B, write the loss at one budget as

    L(N, S) = sum_{i<=a1} a_i Nh^i + sum_{i<=a2} b_i Sh^i + sum_{i<=a3} c_i (Nh Sh)^i + d,

with Nh = ln N and Sh = -ln(1 - S). The triple (a1, a2, a3) is the *degree*; (2, 2, 2) is the paper's choice.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import NDArray

from moelaws.fitting.least_squares import independent

Array = NDArray[np.float64]
Degree = tuple[int, int, int]


class SurfaceError(ValueError):
    """The runs do not determine the surface that was asked for; the message says what is missing."""


@dataclass(frozen=True)
class Terms:
    """The terms up to a degree, shifted and scaled to the runs at hand, so that numbers stay near one.

    Nh moves by a tenth of its value over a sweep, so that its raw powers are nearly parallel. Centring Nh and Sh
    leaves the span of their powers unchanged and removes that. The products (Nh Sh)^i must be formed from the
    raw Nh: a centred one spans other functions, once a3 > 1. (So the surface depends on the unit of N: a
    property of the paper's form, kept.)

    Attributes:
        degree: highest powers of Nh, of Sh and of their product.
        shift, scale: of Nh and Sh, two numbers each.
        product_mean, product_scale: of each power of the product, a3 numbers each.
    """

    degree: Degree
    shift: Array
    scale: Array
    product_mean: Array
    product_scale: Array

    @classmethod
    def of(cls, degree: Degree, log_n: Array, s_hat: Array) -> Self:
        """The terms for runs at ``log_n`` and ``s_hat`` (P numbers each)."""
        products = (log_n * s_hat)[:, None] ** np.arange(1, degree[2] + 1)
        return cls(
            degree,
            np.array([log_n.mean(), s_hat.mean()]),
            np.array([log_n.std() or 1.0, s_hat.std() or 1.0]),
            products.mean(axis=0),
            np.where(products.std(axis=0) > 0, products.std(axis=0), 1.0),
        )

    def design(self, log_n: Array, s_hat: Array) -> Array:
        """The terms at ``log_n`` and ``s_hat``, arrays of one shape; returns that shape and p last, the constant
        first."""
        a1, a2, a3 = self.degree
        z = (log_n - self.shift[0]) / self.scale[0]
        u = (s_hat - self.shift[1]) / self.scale[1]
        product = (log_n * s_hat)[..., None] ** np.arange(1, a3 + 1)
        terms = [
            np.ones_like(z)[..., None],
            z[..., None] ** np.arange(1, a1 + 1),
            u[..., None] ** np.arange(1, a2 + 1),
            (product - self.product_mean) / self.product_scale,
        ]
        return np.concatenate(terms, axis=-1)

    def columns(self, degree: Degree) -> list[int]:
        """Which columns of the design a lower degree uses."""
        a1, a2, _ = self.degree
        first = (1, 1 + a1, 1 + a1 + a2)
        return [0] + [start + i for start, highest in zip(first, degree, strict=True) for i in range(highest)]

    def published(self, weights: Array) -> dict[str, float]:
        """The paper's coefficients ``a1 .. b1 .. c1 .. d`` of the surface with these weights (p numbers)."""
        a1, a2, a3 = self.degree
        of_n = Polynomial([0.0, *weights[1 : 1 + a1]])(_line(self.shift[0], self.scale[0]))
        of_s = Polynomial([0.0, *weights[1 + a1 : 1 + a1 + a2]])(_line(self.shift[1], self.scale[1]))
        of_product = weights[1 + a1 + a2 :] / self.product_scale
        constant = weights[0] + _coefficient(of_n, 0) + _coefficient(of_s, 0) - of_product @ self.product_mean
        return (
            {f"a{i}": _coefficient(of_n, i) for i in range(1, a1 + 1)}
            | {f"b{i}": _coefficient(of_s, i) for i in range(1, a2 + 1)}
            | {f"c{i}": float(of_product[i - 1]) for i in range(1, a3 + 1)}
            | {"d": float(constant)}
        )


@dataclass(frozen=True)
class Basis:
    """An orthonormal basis of a degree's terms on the runs.

    Attributes:
        degree: the degree.
        columns: which of the terms it spans, p of them.
        family: the basis of the highest power of the product, P x (p or more): its first p columns are this one.
        triangle: the family's columns times it are the terms.
    """

    degree: Degree
    columns: list[int]
    family: Array
    triangle: Array

    @property
    def q(self) -> Array:
        """The basis at the runs, P x p."""
        return self.family[:, : len(self.columns)]

    @property
    def inverse(self) -> Array:
        """Turns coordinates in the basis into weights of the terms, p x p."""
        first = slice(len(self.columns))
        return np.asarray(np.linalg.inv(self.triangle[first, first]), float)

    def weights(self, loss: Array, terms: Terms) -> Array:
        """Least-squares weights of all terms for losses ``... x P``; those of terms not in the basis are zero."""
        result = np.zeros((*loss.shape[:-1], sum(terms.degree) + 1))
        result[..., self.columns] = loss @ self.q @ self.inverse.T
        return result


class Bases:
    """Orthonormal bases of many degrees on the same runs.

    Degrees that differ in the powers of the product alone begin alike, for the product's terms come last: one QR
    decomposition is that of them all.

    Args:
        terms: of the highest degree.
        design: their values at the runs, P x p.
        points: distinct sizes and sparsities among the runs.
    """

    def __init__(self, terms: Terms, design: Array, points: int) -> None:
        self.terms, self.design, self.points = terms, design, points
        self._families: dict[tuple[int, int], tuple[Array, Array, NDArray[np.bool_]]] = {}

    def of(self, degree: Degree) -> Basis:
        """The basis of a degree.

        Raises:
            SurfaceError: fewer distinct points than terms, or terms that these points cannot tell apart.
        """
        if sum(degree) + 1 > self.points:
            raise SurfaceError(
                f"degree {_text(degree)} has {sum(degree) + 1} coefficients, "
                f"the runs have {self.points} distinct sizes and sparsities"
            )
        columns = self.terms.columns(degree)
        family, triangle, determined = self._family(*degree[:2])
        if not determined[: len(columns)][-1] or len(columns) > len(determined):
            raise SurfaceError(
                f"degree {_text(degree)} is not determined by the {self.points} distinct sizes and sparsities of the"
                " runs"
            )
        return Basis(degree, columns, family, triangle)

    def _family(self, a1: int, a2: int) -> tuple[Array, Array, NDArray[np.bool_]]:
        """QR factors of all degrees with these powers, and how many of their columns are determined."""
        if (a1, a2) not in self._families:
            q, triangle = np.linalg.qr(self.design[:, self.terms.columns((a1, a2, self.terms.degree[2]))])
            self._families[a1, a2] = q, triangle, independent(triangle)
        return self._families[a1, a2]


def sparsity_coordinate(sparsity: Array) -> Array:
    """Sh = -ln(1 - S), for S from 0 up to but not including 1."""
    return -np.log1p(-sparsity)


def _line(shift: float, scale: float) -> Polynomial:
    return Polynomial([-shift / scale, 1 / scale])


def _coefficient(polynomial: Polynomial | float, power: int) -> float:
    # A polynomial of degree 0 composed with a line comes back as a number.
    coefficients = polynomial.coef if isinstance(polynomial, Polynomial) else np.atleast_1d(polynomial)
    return float(coefficients[power]) if power < len(coefficients) else 0.0


def _text(degree: Degree) -> str:
    return "(" + ", ".join(map(str, degree)) + ")"
