"""Profiled deviance of a linear mixed model with crossed random effects, by a block Cholesky
factor.

y = X beta + Z b + e,  b = Lambda(theta) u,  u ~ N(0, sigma^2 I),  e ~ N(0, sigma^2 I).
The term with the most levels (items) is block-diagonal; all others, X and y go into one dense Schur
complement. The cross-products are formed once, after which the cost of one evaluation does not
depend on the number of rows. Within, all columns are in standard units (stats/mixed/standard_units.py):
theta and what `solve` gives are of these; `factors` is of the given columns. Source: Bates,
Maechler, Bolker & Walker (2015), J. Stat. Software 67(1), eqs. 33-42.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg as sl
import scipy.sparse as sp

from transect.stats.mixed.standard_units import StandardColumns, lower_triangle


@dataclass(frozen=True)
class Grouping:
    """One random term: `codes` [row] names the level 0..n_levels-1, `columns` [row, k] are its k
    effects.
    """

    name: str
    codes: np.ndarray
    n_levels: int
    columns: np.ndarray
    effects: tuple[str, ...]
    levels: tuple[str, ...] = ()  # their labels

    @property
    def k(self) -> int:
        return self.columns.shape[1]

    def at(self, rows: np.ndarray) -> "Grouping":
        """The same term of some rows, with the levels that occur in them, in the old order."""
        kept, codes = np.unique(self.codes[rows], return_inverse=True)
        labels = tuple(self.levels[level] for level in kept) if self.levels else ()
        return Grouping(self.name, codes, len(kept), self.columns[rows], self.effects, labels)


@dataclass(frozen=True)
class Solution:
    """The penalised least squares solution at one theta; RX is the lower Cholesky factor of X'V^-1
    X * sigma^2.

    lower, w: the factor of the largest term and what it eliminates [level, effect, column];
    unscaled: what is left of the cross-products of [rest, X, y]; schur: the same times Lambda on
    both sides, plus the unit diagonal of the rest.
    """

    logdet: float
    logdet_x: float
    rss: float  # penalised residual sum of squares
    beta: np.ndarray
    rx: np.ndarray
    lower: np.ndarray
    w: np.ndarray
    unscaled: np.ndarray
    schur: np.ndarray


@dataclass(frozen=True)
class _InverseParts:
    """The inverse of the penalised cross-products M of [first term, rest], by blocks.

    inverse: of the rest, times Lambda^-1 on both sides; spread: of the rest, in the unscaled
    columns; of each level of the first term [level, effect, ...], upper upper' is the inverse
    without the rest, and back what brings the rest back.
    """

    inverse: np.ndarray
    spread: np.ndarray
    upper: np.ndarray
    back: np.ndarray

    def through(self) -> np.ndarray:
        """back spread [level, effect, column]."""
        n_levels, k, m = self.back.shape  # m may be 0, so that -1 has no meaning
        flat = self.back.reshape(n_levels * k, m)
        return (flat @ self.spread).reshape(self.back.shape)


class Deviance:
    """-2 log likelihood (ML) or restricted likelihood (REML) as a function of theta, with beta and
    sigma profiled out.

    theta holds the lower triangles of the relative covariance factors, term by term in the order of
    `terms` (largest first), in standard columns. Raises numpy.linalg.LinAlgError for a model matrix
    that is not of full column rank.
    """

    def __init__(
        self,
        y: np.ndarray,
        x: np.ndarray,
        terms: Sequence[Grouping],
        reml: bool,
        weights: np.ndarray | None = None,
    ):
        self.n, self.p = x.shape
        self.reml = reml
        self.dof = self.n - self.p if reml else self.n
        self.terms = _largest_first(terms)
        self.fixed = StandardColumns.of(x)
        self.x = self.fixed.given
        self.standard_x = self.fixed.standard
        self.columns = [StandardColumns.of(term.columns) for term in self.terms]  # of each term
        standard = [
            replace(term, columns=columns.standard)
            for term, columns in zip(self.terms, self.columns, strict=True)
        ]
        self.first = standard[0]
        self.z_first = _sparse(standard[:1], self.n)
        self.z_rest = _sparse(standard[1:], self.n)
        self.q = self.z_rest.shape[1]
        self.spans = _spans([term.n_levels * term.k for term in self.terms[1:]])
        self._lay_out_theta()
        self.set_weights(weights)
        self.set_y(y)

    def _lay_out_theta(self) -> None:
        """What each element of theta is: its place in a triangle, and whether that is on the
        diagonal (theta >= 0 there), in which column, and of a term with correlations.
        """
        self.triangles = [np.tril_indices(term.k) for term in self.terms]
        start, diagonal, correlated, column = [], [], [], []
        n_before = 0
        for term, (row_in, column_in) in zip(self.terms, self.triangles, strict=True):
            start.append(np.eye(term.k)[row_in, column_in])
            diagonal.append(row_in == column_in)
            correlated.append(np.full(len(row_in), term.k > 1))
            column.append(column_in + n_before)
            n_before += term.k
        self.start = np.concatenate(start)
        self.diagonal = np.concatenate(diagonal)
        self.correlated = np.concatenate(correlated)
        self.column = np.concatenate(column)

    @property
    def _of_rest(self) -> slice:
        """Where the terms but the first stand among the columns of the cross-products."""
        return slice(0, self.q)

    @property
    def _of_x(self) -> slice:
        """Where X stands among them; y is the last."""
        return slice(self.q, self.q + self.p)

    def set_weights(self, weights: np.ndarray | None) -> None:
        """Form the cross-products with one weight per row (None: 1), Var(e) = sigma^2 / weight;
        `set_y` must follow.
        """
        self.weights = None if weights is None else np.asarray(weights, float)
        first = self.first
        m = self.q + self.p + 1
        self.a = self._products_within_levels()
        self.b = np.empty((first.n_levels, first.k, m))
        self.c = np.zeros((m, m))
        if self.q:  # sparse products of nothing cost most of the time of a small model of one term
            self._set_products_of_rest()
        x = self.standard_x
        if self.weights is not None:
            x = x * self.weights[:, None]
        products = self.z_first.T @ x
        self.b[..., self._of_x] = products.reshape(first.n_levels, first.k, self.p)
        self.c[self._of_x, self._of_x] = self.standard_x.T @ x

    def _products_within_levels(self) -> np.ndarray:
        """Z'Z of the first term [level, effect, effect]."""
        first = self.first
        products = np.empty((first.n_levels, first.k, first.k))
        for i in range(first.k):
            weighted = self._weighted(first.columns[:, i])
            for j in range(first.k):
                by_row = weighted * first.columns[:, j]
                products[:, i, j] = np.bincount(first.codes, by_row, first.n_levels)
        return products

    def _set_products_of_rest(self) -> None:
        """The cross-products of the other terms with all columns but y."""
        first = self.first
        rest = self.z_rest
        if self.weights is not None:  # no copy of this large table where there is nothing to weigh
            by_entry = np.repeat(self.weights, np.diff(rest.indptr))
            weighted = rest.data * by_entry
            rest = sp.csr_matrix((weighted, rest.indices, rest.indptr), rest.shape)
        with_first = (self.z_first.T @ rest).toarray()
        self.b[..., self._of_rest] = with_first.reshape(first.n_levels, first.k, self.q)
        self.c[self._of_rest, self._of_rest] = (self.z_rest.T @ rest).toarray()
        with_x = rest.T @ self.standard_x
        self.c[self._of_rest, self._of_x] = with_x
        self.c[self._of_x, self._of_rest] = with_x.T

    def set_y(self, y: np.ndarray) -> None:
        """Replace the response and keep all other cross-products (parametric bootstrap)."""
        y = np.asarray(y, float)
        weighted = self._weighted(y)
        with_first = self.z_first.T @ weighted
        self.b[..., -1] = with_first.reshape(self.terms[0].n_levels, -1)
        with_rest = self.z_rest.T @ weighted if self.q else []
        products = np.concatenate([with_rest, self.standard_x.T @ weighted])
        self.c[:-1, -1] = products
        self.c[-1, :-1] = products
        self.c[-1, -1] = y @ weighted

    def with_y(self, y: np.ndarray) -> "Deviance":
        """The same model of another response; this one keeps its own."""
        other = copy(self)
        other.b, other.c = self.b.copy(), self.c.copy()
        other.set_y(y)
        return other

    def holding(self, column: int, value: float) -> "Deviance":
        """The same model with the coefficient of one given column held at a value (profile
        likelihood).
        """
        root = self.fixed.root
        others = np.delete(np.arange(self.p), column)
        # of the space of the other columns, again of mean square 1
        basis, triangle = np.linalg.qr(root[:, others])
        signs = np.where(np.diag(triangle) < 0, -1.0, 1.0)
        change = np.zeros((self.q + self.p + 1, self.q + self.p))
        change[self._of_rest, self._of_rest] = np.eye(self.q)
        change[self._of_x, self.q : -1] = basis * signs
        # y - value * x, in the cross-products
        change[self._of_x, -1] = -value * root[:, column]
        change[-1, -1] = 1.0
        other = copy(self)
        other.b = self.b @ change
        other.c = change.T @ self.c @ change
        other.p = self.p - 1
        other.fixed = replace(self.fixed, root=triangle * signs[:, None])
        other.dof = self.n - other.p if self.reml else self.n
        return other

    def by_likelihood(self) -> "Deviance":
        """The same model by maximum likelihood."""
        other = copy(self)
        other.reml, other.dof = False, self.n
        return other

    def across_the_edge(self, theta: np.ndarray, size: float) -> list[np.ndarray]:
        """For each element on the edge with others below it in its column: the column's other sign,
        that element at `size`.

        A factor's column has either sign, so that these points lie beyond the edge, where the
        deviance may fall further.
        """
        points = []
        for i in np.flatnonzero(self.diagonal & (theta < size)):
            below = (self.column == self.column[i]) & ~self.diagonal
            if theta[below].any():
                point = np.where(below, -theta, theta)
                point[i] = size
                points.append(point)
        return points

    def start_from(self, other: "Deviance", theta: np.ndarray) -> np.ndarray:
        """theta of another model as a start for this one: that of the terms which both have; off
        the edge, 0 being stationary.
        """
        known = {
            (term.name, term.effects): factor
            for term, factor in zip(other.terms, other.factors(theta), strict=True)
        }
        parts = []
        for term, columns, triangle in zip(self.terms, self.columns, self.triangles, strict=True):
            factor = np.eye(term.k)
            if (term.name, term.effects) in known:
                factor = lower_triangle(columns.root @ known[term.name, term.effects])
            parts.append(factor[triangle])
        start = np.concatenate(parts)
        return np.where(self.diagonal, np.maximum(start, 0.2), start)

    def _weighted(self, column: np.ndarray) -> np.ndarray:
        return column if self.weights is None else self.weights * column

    def factors(self, theta: np.ndarray) -> list[np.ndarray]:
        """A k x k matrix F per term: the covariance of its effects, in the units of the given
        columns, is sigma^2 F F'.
        """
        return [
            columns.inverse @ factor
            for columns, factor in zip(self.columns, self.standard_factors(theta), strict=True)
        ]

    def standard_factors(self, theta: np.ndarray) -> list[np.ndarray]:
        """theta as one lower-triangular k x k matrix per term, in standard columns."""
        factors = []
        start = 0
        for term, triangle in zip(self.terms, self.triangles, strict=True):
            end = start + len(triangle[0])
            factor = np.zeros((term.k, term.k))
            factor[triangle] = theta[start:end]
            factors.append(factor)
            start = end
        return factors

    def solve(self, theta: np.ndarray) -> Solution:
        first, *rest = self.standard_factors(theta)
        lower, w = self._eliminated(first)
        logdet = float(2 * np.log(np.einsum("qaa->qa", lower)).sum())
        flat = w.reshape(-1, w.shape[2])
        unscaled = self.c - flat.T @ flat
        schur = _columns_times(_columns_times(unscaled, rest, self.spans).T, rest, self.spans)
        schur[np.arange(self.q), np.arange(self.q)] += 1
        fixed = schur
        if self.q:
            dense = sl.cholesky(schur[: self.q, : self.q], lower=True, check_finite=False)
            between = schur[: self.q, self.q :]
            v = sl.solve_triangular(dense, between, lower=True, check_finite=False)
            fixed = schur[self.q :, self.q :] - v.T @ v
            logdet += 2 * np.log(np.diag(dense)).sum()
        rx = np.linalg.cholesky(fixed[: self.p, : self.p])
        c = sl.solve_triangular(rx, fixed[: self.p, -1], lower=True)
        return Solution(
            logdet=logdet,
            logdet_x=2 * np.log(np.diag(rx)).sum(),
            rss=float(fixed[-1, -1] - c @ c),
            beta=sl.solve_triangular(rx, c, lower=True, trans=1),
            rx=rx,
            lower=lower,
            w=w,
            unscaled=unscaled,
            schur=schur,
        )

    def _eliminated(self, factor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`lower` and `w` of a solution, of the largest term with this factor."""
        inner = factor.T @ self.a @ factor + np.eye(len(factor))
        if len(factor) == 1:
            # one effect per item, the usual case: a tenth of the time of the general one
            lower = np.sqrt(inner)
            return lower, self.b * (factor[0, 0] / lower)
        lower = np.linalg.cholesky(inner)
        return lower, np.linalg.inv(lower) @ factor.T @ self.b  # a batch of tiny solves is slower

    def _inverse(self, theta: np.ndarray, s: Solution, m: int) -> _InverseParts:
        """What M^-1 is made of: M the cross-products of Z and of the first m columns."""
        rest = self.standard_factors(theta)[1:]
        inverse = np.linalg.inv(s.schur[:m, :m])
        spread = _rows_times(_rows_times(inverse, rest, self.spans).T, rest, self.spans)
        upper = np.linalg.inv(s.lower).transpose(0, 2, 1)
        back = upper @ s.w[..., :m]
        return _InverseParts(inverse=inverse, spread=spread, upper=upper, back=back)

    def effects(self, theta: np.ndarray, s: Solution) -> list[np.ndarray]:
        """The spherical random effects u at a solution, [level, effect] of each term: b = F u."""
        of_rest = s.schur[: self.q]
        rest = of_rest[:, -1] - of_rest[:, self._of_x] @ s.beta
        if self.q:
            rest = sl.solve(of_rest[:, : self.q], rest, assume_a="pos")
        by_term = self._by_term(rest)
        # w holds the columns before the dense effects were scaled
        factors = self.standard_factors(theta)[1:]
        scaled = [(u @ factor.T).ravel() for u, factor in zip(by_term, factors, strict=True)]
        column = s.w[..., -1] - s.w[..., :-1] @ np.concatenate([*scaled, s.beta])
        first = np.linalg.solve(s.lower.transpose(0, 2, 1), column[..., None])[..., 0]
        return [first, *by_term]

    def _by_term(self, rest: np.ndarray) -> list[np.ndarray]:
        """A vector of all effects but the first term's, as [level, effect] of each term."""
        return [
            rest[span].reshape(-1, term.k)
            for term, span in zip(self.terms[1:], self.spans, strict=True)
        ]

    def gradient(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """The deviance and its derivatives by theta."""
        s, logdet, rss = self.slopes(theta)
        return self._value(s), logdet + self.dof / s.rss * rss

    def with_sigma(self, theta: np.ndarray, sigma: float) -> float:
        """The deviance before sigma is profiled out."""
        s = self.solve(theta)
        profiled = self.dof * (1 + np.log(2 * np.pi * s.rss / self.dof))
        logdet = self._value(s) - profiled
        return logdet + self.dof * np.log(2 * np.pi * sigma**2) + s.rss / sigma**2

    def gradient_with_sigma(self, theta: np.ndarray, sigma: float) -> np.ndarray:
        """The derivatives of the deviance by theta and sigma, before sigma is profiled out."""
        s, logdet, rss = self.slopes(theta)
        return np.append(logdet + rss / sigma**2, 2 * self.dof / sigma - 2 * s.rss / sigma**3)

    def slopes(self, theta: np.ndarray) -> tuple[Solution, np.ndarray, np.ndarray]:
        """The solution and the derivatives by theta of its log determinant(s) and of its rss.

        d logdet M = 2 tr(dLambda' P Lambda M^-1), with P the cross-products of Z (and X, for REML)
        and M = Lambda'P Lambda + I; d rss = -2 tr(dLambda' Z'r u'), r the residuals (the envelope
        theorem: beta and u minimise rss).
        """
        s = self.solve(theta)
        u = self.effects(theta, s)
        residuals = self._residual_products(theta, s, u)
        pulled = [product.T @ effects for product, effects in zip(residuals, u, strict=True)]
        logdet = self._in_triangles(self._determinant_slopes(theta, s))
        return s, 2 * logdet, -2 * self._in_triangles(pulled)

    def _determinant_slopes(self, theta: np.ndarray, s: Solution) -> list[np.ndarray]:
        """P Lambda M^-1 summed over the levels of each term [effect, effect]."""
        first, *rest = self.standard_factors(theta)
        m = self.q + self.p if self.reml else self.q
        blocks = self._inverse(theta, s, m)
        through = blocks.through()
        own = blocks.upper @ blocks.upper.transpose(0, 2, 1)
        # M^-1 of each level
        own = own + through @ blocks.back.transpose(0, 2, 1)
        with_others = self.b[..., :m] @ through.transpose(0, 2, 1)
        slopes = [(self.a @ first @ own - with_others).sum(0)]
        dense = s.unscaled[:m, :m] @ _rows_times(blocks.inverse, rest, self.spans)
        for factor, span in zip(rest, self.spans, strict=True):
            slopes.append(_diagonal_blocks(dense[span, span], len(factor)))
        return slopes

    def _in_triangles(self, matrices: Sequence[np.ndarray]) -> np.ndarray:
        """One k x k matrix per term, as the elements of theta are."""
        return np.concatenate(
            [matrix[triangle] for matrix, triangle in zip(matrices, self.triangles, strict=True)]
        )

    def level_variances(self, theta: np.ndarray, s: Solution) -> list[np.ndarray]:
        """The blocks of (Lambda'Z'Z Lambda + I)^-1 of each level of each term, [level, effect,
        effect].
        """
        parts = self._inverse(theta, s, self.q)
        own = parts.upper @ parts.upper.transpose(0, 2, 1)
        variances = [own + parts.back @ parts.spread @ parts.back.transpose(0, 2, 1)]
        for term, span in zip(self.terms[1:], self.spans, strict=True):
            shape = (term.n_levels, term.k, term.n_levels, term.k)
            blocks = parts.inverse[span, span].reshape(shape)
            variances.append(np.einsum("qaqb->qab", blocks))
        return variances

    def _residual_products(
        self, theta: np.ndarray, s: Solution, u: list[np.ndarray]
    ) -> list[np.ndarray]:
        """Z'r of each term, [level, effect]."""
        factors = self.standard_factors(theta)
        own, *others = [effects @ factor.T for effects, factor in zip(u, factors, strict=True)]
        known = np.concatenate([*(effects.ravel() for effects in others), s.beta])
        within = (self.a @ own[..., None])[..., 0]
        first = self.b[..., -1] - self.b[..., :-1] @ known - within
        of_first = self.b[..., : self.q].reshape(own.size, self.q)
        of_rest = self.c[: self.q]
        rest = of_rest[:, -1] - of_rest[:, :-1] @ known - own.ravel() @ of_first
        return [first, *self._by_term(rest)]

    def __call__(self, theta: np.ndarray) -> float:
        return self._value(self.solve(theta))

    def given(self, value: float) -> float:
        """A deviance of the given columns of X, from one of the standard ones: REML's holds log
        |X'V^-1 X|.
        """
        return value + 2 * self.fixed.log_determinant if self.reml else value

    def _value(self, s: Solution) -> float:
        logdet = s.logdet + (s.logdet_x if self.reml else 0.0)
        if self.weights is not None:
            logdet -= np.log(self.weights).sum()
        return logdet + self.dof * (1 + np.log(2 * np.pi * s.rss / self.dof))


def _largest_first(terms: Sequence[Grouping]) -> list[Grouping]:
    """The terms with the one of the most levels first."""
    largest = max(range(len(terms)), key=lambda j: terms[j].n_levels)
    return [terms[largest], *terms[:largest], *terms[largest + 1 :]]


def _spans(sizes: Sequence[int]) -> list[slice]:
    """Where blocks of these sizes stand, one behind the other."""
    ends = np.cumsum([0, *sizes])
    return [slice(start, end) for start, end in zip(ends[:-1], ends[1:], strict=True)]


def _sparse(terms: Sequence[Grouping], n: int) -> sp.csr_matrix:
    """Z of the terms beside each other, [row, level * k + effect]; as many entries in every row, so
    none need to be sorted.
    """
    width = sum(term.k for term in terms)
    data = np.empty((n, width))
    indices = np.empty((n, width), np.int32)
    place = n_before = 0
    for term in terms:
        for effect in range(term.k):
            data[:, place] = term.columns[:, effect]
            indices[:, place] = term.codes * term.k + n_before + effect
            place += 1
        n_before += term.n_levels * term.k
    starts = np.arange(n + 1, dtype=np.int32) * width
    return sp.csr_matrix((data.ravel(), indices.ravel(), starts), (n, n_before))


def _columns_times(
    matrix: np.ndarray, factors: Sequence[np.ndarray], spans: Sequence[slice]
) -> np.ndarray:
    """matrix Lambda, where Lambda holds one factor per level of each term and the identity for
    further columns.
    """
    product = matrix.copy()
    for factor, span in zip(factors, spans, strict=True):
        by_level = matrix[:, span].reshape(-1, len(factor))
        product[:, span] = (by_level @ factor).reshape(len(matrix), -1)
    return product


def _rows_times(
    matrix: np.ndarray, factors: Sequence[np.ndarray], spans: Sequence[slice]
) -> np.ndarray:
    """Lambda matrix; see `_columns_times`."""
    transposed = [factor.T for factor in factors]
    return _columns_times(matrix.T, transposed, spans).T


def _diagonal_blocks(matrix: np.ndarray, k: int) -> np.ndarray:
    """The sum of the k x k blocks on the diagonal."""
    blocks = matrix.reshape(len(matrix) // k, k, len(matrix) // k, k)
    return np.einsum("qaqb->ab", blocks)
