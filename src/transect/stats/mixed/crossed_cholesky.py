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
        largest = max(range(len(terms)), key=lambda j: terms[j].n_levels)
        self.terms = [terms[largest], *(t for j, t in enumerate(terms) if j != largest)]
        self.fixed = StandardColumns.of(x)
        self.x, self.standard_x = self.fixed.given, self.fixed.standard
        self.columns = [StandardColumns.of(t.columns) for t in self.terms]  # of each term
        standard = [
            replace(t, columns=c.standard) for t, c in zip(self.terms, self.columns, strict=True)
        ]
        self.first = standard[0]
        self.z_first, self.z_rest = _sparse(standard[:1], self.n), _sparse(standard[1:], self.n)
        self.q = self.z_rest.shape[1]
        ends = np.cumsum([0, *(t.n_levels * t.k for t in self.terms[1:])])
        self.spans = [
            slice(a, b) for a, b in zip(ends[:-1], ends[1:], strict=True)
        ]  # of the other terms
        self.triangles = [np.tril_indices(t.k) for t in self.terms]
        self.start = np.concatenate(
            [np.eye(t.k)[tri] for t, tri in zip(self.terms, self.triangles, strict=True)]
        )
        self.diagonal = np.concatenate(
            [tri[0] == tri[1] for tri in self.triangles]
        )  # theta >= 0 there
        firsts = np.cumsum([0, *(t.k for t in self.terms[:-1])])
        self.correlated = np.concatenate(
            [np.full(t.k * (t.k + 1) // 2, t.k > 1) for t in self.terms]
        )
        self.column = np.concatenate(
            [tri[1] + first for tri, first in zip(self.triangles, firsts, strict=True)]
        )
        self.set_weights(weights)
        self.set_y(y)

    def set_weights(self, weights: np.ndarray | None) -> None:
        """Form the cross-products with one weight per row (None: 1), Var(e) = sigma^2 / weight;
        `set_y` must follow.
        """
        self.weights = None if weights is None else np.asarray(weights, float)
        first, m = self.first, self.q + self.p + 1
        self.a = np.empty((first.n_levels, first.k, first.k))
        for i in range(first.k):
            for j in range(first.k):
                product = self._weighted(first.columns[:, i]) * first.columns[:, j]
                self.a[:, i, j] = np.bincount(first.codes, product, first.n_levels)
        rest, x = self.z_rest, self.standard_x
        if (
            self.weights is not None and self.q
        ):  # no copies of these large tables where there is nothing to weigh
            by_entry = np.repeat(self.weights, np.diff(rest.indptr))
            rest = sp.csr_matrix((rest.data * by_entry, rest.indices, rest.indptr), rest.shape)
        if self.weights is not None:
            x = x * self.weights[:, None]
        self.b = np.empty((first.n_levels, first.k, m))
        self.c = np.zeros((m, m))
        if self.q:  # sparse products of nothing cost most of the time of a small model of one term
            zx = rest.T @ self.standard_x
            self.b[..., : self.q] = (
                (self.z_first.T @ rest).toarray().reshape(first.n_levels, first.k, self.q)
            )
            self.c[: self.q, : self.q] = (self.z_rest.T @ rest).toarray()
            self.c[: self.q, self.q : -1], self.c[self.q : -1, : self.q] = zx, zx.T
        self.b[..., self.q : -1] = (self.z_first.T @ x).reshape(first.n_levels, first.k, self.p)
        self.c[self.q : -1, self.q : -1] = self.standard_x.T @ x

    def set_y(self, y: np.ndarray) -> None:
        """Replace the response and keep all other cross-products (parametric bootstrap)."""
        y = np.asarray(y, float)
        weighted = self._weighted(y)
        self.b[..., -1] = (self.z_first.T @ weighted).reshape(self.terms[0].n_levels, -1)
        self.c[:-1, -1] = self.c[-1, :-1] = np.concatenate(
            [self.z_rest.T @ weighted if self.q else [], self.standard_x.T @ weighted]
        )
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
        other = copy(self)
        kept, root = np.delete(np.arange(self.p), column), self.fixed.root
        basis, left = np.linalg.qr(
            root[:, kept]
        )  # of what is left of the columns, again of mean square 1
        signs = np.where(np.diag(left) < 0, -1.0, 1.0)
        change = np.zeros((self.q + self.p + 1, self.q + self.p))
        change[: self.q, : self.q] = np.eye(self.q)
        change[self.q : -1, self.q : -1] = basis * signs
        change[self.q : -1, -1], change[-1, -1] = (
            -value * root[:, column],
            1.0,
        )  # y - value * x, in the cross-products
        other.b, other.c = self.b @ change, change.T @ self.c @ change
        other.p = self.p - 1
        other.fixed = replace(self.fixed, root=left * signs[:, None])
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
        found = []
        for i in np.flatnonzero(self.diagonal & (theta < size)):
            below = (self.column == self.column[i]) & ~self.diagonal
            if theta[below].any():
                found.append(np.where(below, -theta, theta))
                found[-1][i] = size
        return found

    def start_from(self, other: "Deviance", theta: np.ndarray) -> np.ndarray:
        """theta of another model as a start for this one: that of the terms which both have; off
        the edge, 0 being stationary.
        """
        known = {
            (t.name, t.effects): f for t, f in zip(other.terms, other.factors(theta), strict=True)
        }
        parts = []
        for term, columns, triangle in zip(self.terms, self.columns, self.triangles, strict=True):
            factor = known.get((term.name, term.effects))
            parts.append(
                (np.eye(term.k) if factor is None else lower_triangle(columns.root @ factor))[
                    triangle
                ]
            )
        return np.where(
            self.diagonal, np.maximum(np.concatenate(parts), 0.2), np.concatenate(parts)
        )

    def _weighted(self, column: np.ndarray) -> np.ndarray:
        return column if self.weights is None else self.weights * column

    def factors(self, theta: np.ndarray) -> list[np.ndarray]:
        """A k x k matrix F per term: the covariance of its effects, in the units of the given
        columns, is sigma^2 F F'.
        """
        return [
            c.inverse @ t for c, t in zip(self.columns, self.standard_factors(theta), strict=True)
        ]

    def standard_factors(self, theta: np.ndarray) -> list[np.ndarray]:
        """theta as one lower-triangular k x k matrix per term, in standard columns."""
        out, offset = [], 0
        for term, triangle in zip(self.terms, self.triangles, strict=True):
            t = np.zeros((term.k, term.k))
            t[triangle] = theta[offset : offset + len(triangle[0])]
            out.append(t)
            offset += len(triangle[0])
        return out

    def solve(self, theta: np.ndarray) -> Solution:
        first, *rest = self.standard_factors(theta)
        inner = first.T @ self.a @ first + np.eye(len(first))
        if (
            len(first) == 1
        ):  # one effect per item, the usual case: a tenth of the time of the general one
            lower = np.sqrt(inner)
            w = self.b * (first[0, 0] / lower)
        else:
            lower = np.linalg.cholesky(inner)
            w = np.linalg.inv(lower) @ first.T @ self.b  # a batch of tiny solves is slower
        logdet = float(2 * np.log(np.einsum("qaa->qa", lower)).sum())
        flat = w.reshape(-1, w.shape[2])
        unscaled = self.c - flat.T @ flat
        schur = _columns_times(_columns_times(unscaled, rest, self.spans).T, rest, self.spans)
        schur[np.arange(self.q), np.arange(self.q)] += 1
        left = schur
        if self.q:
            dense = sl.cholesky(schur[: self.q, : self.q], lower=True, check_finite=False)
            v = sl.solve_triangular(
                dense, schur[: self.q, self.q :], lower=True, check_finite=False
            )
            left = schur[self.q :, self.q :] - v.T @ v
            logdet += 2 * np.log(np.diag(dense)).sum()
        rx = np.linalg.cholesky(left[: self.p, : self.p])
        c = sl.solve_triangular(rx, left[: self.p, -1], lower=True)
        beta = sl.solve_triangular(rx, c, lower=True, trans=1)
        rss = float(left[-1, -1] - c @ c)
        return Solution(
            logdet, 2 * np.log(np.diag(rx)).sum(), rss, beta, rx, lower, w, unscaled, schur
        )

    def effects(self, theta: np.ndarray, s: Solution) -> list[np.ndarray]:
        """The spherical random effects u at a solution, [level, effect] of each term: b = F u."""
        known = s.schur[: self.q, -1] - s.schur[: self.q, self.q : -1] @ s.beta
        rest = sl.solve(s.schur[: self.q, : self.q], known, assume_a="pos") if self.q else known
        # w holds the columns before the dense effects were scaled
        scaled = [
            (rest[span].reshape(-1, len(t)) @ t.T).ravel()
            for t, span in zip(self.standard_factors(theta)[1:], self.spans, strict=True)
        ]
        column = s.w[..., -1] - s.w[..., :-1] @ np.concatenate([*scaled, s.beta])
        first = np.linalg.solve(s.lower.transpose(0, 2, 1), column[..., None])[..., 0]
        return [
            first,
            *(
                rest[span].reshape(-1, t.k)
                for t, span in zip(self.terms[1:], self.spans, strict=True)
            ),
        ]

    def gradient(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """The deviance and its derivatives by theta."""
        s, logdet, rss = self.slopes(theta)
        return self._value(s), logdet + self.dof / s.rss * rss

    def with_sigma(self, theta: np.ndarray, sigma: float) -> float:
        """The deviance before sigma is profiled out."""
        s = self.solve(theta)
        profiled = self.dof * (1 + np.log(2 * np.pi * s.rss / self.dof))
        return (
            self._value(s) - profiled + self.dof * np.log(2 * np.pi * sigma**2) + s.rss / sigma**2
        )

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
        first, *rest = self.standard_factors(theta)
        m = self.q + self.p if self.reml else self.q
        inverse = np.linalg.inv(s.schur[:m, :m])
        spread = _rows_times(
            _rows_times(inverse, rest, self.spans).T, rest, self.spans
        )  # in the unscaled columns
        upper = np.linalg.inv(s.lower).transpose(0, 2, 1)
        back = upper @ s.w[..., :m]
        through = (back.reshape(upper.shape[0] * upper.shape[1], m) @ spread).reshape(back.shape)
        own = upper @ upper.transpose(0, 2, 1) + through @ back.transpose(
            0, 2, 1
        )  # M^-1 of each level
        products = [(self.a @ first @ own - self.b[..., :m] @ through.transpose(0, 2, 1)).sum(0)]
        dense = s.unscaled[:m, :m] @ _rows_times(inverse, rest, self.spans)
        products += [
            _diagonal_blocks(dense[span, span], len(t))
            for t, span in zip(rest, self.spans, strict=True)
        ]
        u = self.effects(theta, s)
        pulled = [p.T @ v for p, v in zip(self._residual_products(theta, s, u), u, strict=True)]
        logdet, rss = (
            np.concatenate([g[t] for g, t in zip(part, self.triangles, strict=True)])
            for part in (products, pulled)
        )
        return s, 2 * logdet, -2 * rss

    def level_variances(self, theta: np.ndarray, s: Solution) -> list[np.ndarray]:
        """The blocks of (Lambda'Z'Z Lambda + I)^-1 of each level of each term, [level, effect,
        effect].
        """
        rest = self.standard_factors(theta)[1:]
        inverse = np.linalg.inv(s.schur[: self.q, : self.q])
        spread = _rows_times(_rows_times(inverse, rest, self.spans).T, rest, self.spans)
        upper = np.linalg.inv(s.lower).transpose(0, 2, 1)
        back = upper @ s.w[..., : self.q]
        found = [upper @ upper.transpose(0, 2, 1) + back @ spread @ back.transpose(0, 2, 1)]
        for term, span in zip(self.terms[1:], self.spans, strict=True):
            blocks = inverse[span, span].reshape(term.n_levels, term.k, term.n_levels, term.k)
            found.append(np.einsum("qaqb->qab", blocks))
        return found

    def _residual_products(
        self, theta: np.ndarray, s: Solution, u: list[np.ndarray]
    ) -> list[np.ndarray]:
        """Z'r of each term, [level, effect]."""
        b = [v @ t.T for v, t in zip(u, self.standard_factors(theta), strict=True)]
        others = np.concatenate([*(v.ravel() for v in b[1:]), s.beta])
        first = self.b[..., -1] - self.b[..., :-1] @ others - (self.a @ b[0][..., None])[..., 0]
        rest = (
            self.c[: self.q, -1]
            - self.c[: self.q, :-1] @ others
            - b[0].ravel() @ self.b[..., : self.q].reshape(b[0].size, self.q)
        )
        return [
            first,
            *(
                rest[span].reshape(-1, t.k)
                for t, span in zip(self.terms[1:], self.spans, strict=True)
            ),
        ]

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


def _sparse(terms: Sequence[Grouping], n: int) -> sp.csr_matrix:
    """Z of the terms beside each other, [row, level * k + effect]; as many entries in every row, so
    none need to be sorted.
    """
    ends = np.cumsum([0, *(t.n_levels * t.k for t in terms)])
    width = sum(t.k for t in terms)
    data, indices = np.empty((n, width)), np.empty((n, width), np.int32)
    places = [(t, a, start + a) for t, start in zip(terms, ends, strict=False) for a in range(t.k)]
    for place, (term, a, first) in enumerate(places):
        data[:, place], indices[:, place] = term.columns[:, a], term.codes * term.k + first
    starts = np.arange(n + 1, dtype=np.int32) * width
    return sp.csr_matrix((data.ravel(), indices.ravel(), starts), (n, int(ends[-1])))


def _columns_times(
    matrix: np.ndarray, factors: Sequence[np.ndarray], spans: Sequence[slice]
) -> np.ndarray:
    """matrix Lambda, where Lambda holds one factor per level of each term and the identity for
    further columns.
    """
    out = matrix.copy()
    for t, span in zip(factors, spans, strict=True):
        out[:, span] = (matrix[:, span].reshape(-1, len(t)) @ t).reshape(len(matrix), -1)
    return out


def _rows_times(
    matrix: np.ndarray, factors: Sequence[np.ndarray], spans: Sequence[slice]
) -> np.ndarray:
    """Lambda matrix; see `_columns_times`."""
    return _columns_times(matrix.T, [t.T for t in factors], spans).T


def _diagonal_blocks(matrix: np.ndarray, k: int) -> np.ndarray:
    """The sum of the k x k blocks on the diagonal."""
    blocks = matrix.reshape(len(matrix) // k, k, len(matrix) // k, k)
    return np.einsum("qaqb->ab", blocks)
