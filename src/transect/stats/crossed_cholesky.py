"""Profiled deviance of a linear mixed model with crossed random effects, by a block Cholesky factor.

y = X beta + Z b + e,  b = Lambda(theta) u,  u ~ N(0, sigma^2 I),  e ~ N(0, sigma^2 I).
The term with the most levels (items) is block-diagonal; all others, X and y go into one dense Schur complement. The
cross-products are formed once, after which the cost of one evaluation does not depend on the number of rows.
Source: Bates, Maechler, Bolker & Walker (2015), J. Stat. Software 67(1), eqs. 33-42.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg as sl
import scipy.sparse as sp


@dataclass(frozen=True)
class Grouping:
    """One random term: `codes` [row] names the level 0..n_levels-1, `columns` [row, k] are its k effects."""

    name: str
    codes: np.ndarray
    n_levels: int
    columns: np.ndarray
    effects: tuple[str, ...]

    @property
    def k(self) -> int:
        return self.columns.shape[1]

    def sparse(self) -> sp.csr_matrix:
        """Z of this term, [row, level * k + effect]."""
        rows = np.arange(len(self.codes))
        shape = (len(self.codes), self.n_levels * self.k)
        return sum(
            sp.csr_matrix((self.columns[:, a], (rows, self.codes * self.k + a)), shape=shape) for a in range(self.k)
        ).tocsr()


@dataclass(frozen=True)
class Solution:
    """The penalised least squares solution at one theta; RX is the lower Cholesky factor of X'V^-1 X * sigma^2."""

    logdet: float
    logdet_x: float
    rss: float  # penalised residual sum of squares
    beta: np.ndarray
    rx: np.ndarray


class Deviance:
    """-2 log likelihood (ML) or restricted likelihood (REML) as a function of theta, with beta and sigma profiled out.

    theta holds the lower triangles of the relative covariance factors, term by term in the order of `terms`
    (largest first). Raises numpy.linalg.LinAlgError for a model matrix that is not of full column rank.
    """

    def __init__(self, y: np.ndarray, x: np.ndarray, terms: Sequence[Grouping], reml: bool):
        self.n, self.p = x.shape
        self.reml = reml
        self.dof = self.n - self.p if reml else self.n
        largest = max(range(len(terms)), key=lambda j: terms[j].n_levels)
        self.terms = [terms[largest], *(t for j, t in enumerate(terms) if j != largest)]
        self.x = np.asarray(x, float)
        first = self.terms[0]
        self.z_first = first.sparse()
        rest = [t.sparse() for t in self.terms[1:]]
        self.z_rest = sp.hstack(rest).tocsr() if rest else sp.csr_matrix((self.n, 0))
        self.q = self.z_rest.shape[1]
        self.a = np.empty((first.n_levels, first.k, first.k))
        for i in range(first.k):
            for j in range(first.k):
                self.a[:, i, j] = np.bincount(first.codes, first.columns[:, i] * first.columns[:, j], first.n_levels)
        m = self.q + self.p + 1
        self.b = np.empty((first.n_levels, first.k, m))
        self.c = np.zeros((m, m))
        zx = self.z_rest.T @ self.x
        self.b[..., : self.q] = (self.z_first.T @ self.z_rest).toarray().reshape(first.n_levels, first.k, self.q)
        self.b[..., self.q : -1] = (self.z_first.T @ self.x).reshape(first.n_levels, first.k, self.p)
        self.c[: self.q, : self.q] = (self.z_rest.T @ self.z_rest).toarray()
        self.c[: self.q, self.q : -1], self.c[self.q : -1, : self.q] = zx, zx.T
        self.c[self.q : -1, self.q : -1] = self.x.T @ self.x
        self.set_y(y)
        triangles = [np.tril_indices(t.k) for t in self.terms]
        self.start = np.concatenate([np.eye(t.k)[tri] for t, tri in zip(self.terms, triangles, strict=True)])
        self.diagonal = np.concatenate([tri[0] == tri[1] for tri in triangles])  # theta >= 0 there

    def set_y(self, y: np.ndarray) -> None:
        """Replace the response and keep all other cross-products (parametric bootstrap)."""
        y = np.asarray(y, float)
        self.b[..., -1] = (self.z_first.T @ y).reshape(self.terms[0].n_levels, -1)
        self.c[:-1, -1] = self.c[-1, :-1] = np.concatenate([self.z_rest.T @ y, self.x.T @ y])
        self.c[-1, -1] = y @ y

    def factors(self, theta: np.ndarray) -> list[np.ndarray]:
        """theta as one lower-triangular k x k matrix per term."""
        out, offset = [], 0
        for term in self.terms:
            t = np.zeros((term.k, term.k))
            size = term.k * (term.k + 1) // 2
            t[np.tril_indices(term.k)] = theta[offset : offset + size]
            out.append(t)
            offset += size
        return out

    def solve(self, theta: np.ndarray) -> Solution:
        first, *rest = self.factors(theta)
        inner = np.einsum("ba,qbc,cd->qad", first, self.a, first) + np.eye(len(first))
        if len(first) == 1:  # one effect per item, the usual case: a tenth of the time of the general one
            w = (self.b * (first[0, 0] / np.sqrt(inner))).reshape(-1, self.b.shape[2])
            logdet = float(np.log(inner).sum())
        else:
            lower = np.linalg.cholesky(inner)
            w = np.linalg.solve(lower, np.einsum("ba,qbm->qam", first, self.b)).reshape(-1, self.b.shape[2])
            logdet = float(2 * np.log(np.einsum("qaa->qa", lower)).sum())
        schur = self.c - w.T @ w
        if self.q:
            schur, extra = self._eliminate_rest(schur, rest)
            logdet += extra
        rx = sl.cholesky(schur[: self.p, : self.p], lower=True)
        c = sl.solve_triangular(rx, schur[: self.p, -1], lower=True)
        beta = sl.solve_triangular(rx, c, lower=True, trans=1)
        return Solution(logdet, 2 * np.log(np.diag(rx)).sum(), float(schur[-1, -1] - c @ c), beta, rx)

    def _eliminate_rest(self, schur: np.ndarray, factors: list[np.ndarray]) -> tuple[np.ndarray, float]:
        """Schur complement after the dense random effects, and their part of the log determinant."""
        offset = 0
        for t, term in zip(factors, self.terms[1:], strict=True):
            span = slice(offset, offset + term.n_levels * term.k)
            block = schur[span].reshape(term.n_levels, term.k, -1)
            schur[span] = np.einsum("ba,qbm->qam", t, block).reshape(span.stop - offset, -1)
            block = schur[:, span].reshape(-1, term.n_levels, term.k)
            schur[:, span] = np.einsum("mqb,ba->mqa", block, t).reshape(-1, span.stop - offset)
            offset = span.stop
        lower = sl.cholesky(schur[: self.q, : self.q] + np.eye(self.q), lower=True, check_finite=False)
        v = sl.solve_triangular(lower, schur[: self.q, self.q :], lower=True, check_finite=False)
        return schur[self.q :, self.q :] - v.T @ v, 2 * np.log(np.diag(lower)).sum()

    def __call__(self, theta: np.ndarray) -> float:
        s = self.solve(theta)
        return s.logdet + (s.logdet_x if self.reml else 0.0) + self.dof * (1 + np.log(2 * np.pi * s.rss / self.dof))

    def with_sigma(self, theta: np.ndarray, sigma: float) -> float:
        """The deviance before sigma is profiled out: its curvature gives the Satterthwaite degrees of freedom."""
        s = self.solve(theta)
        return (
            s.logdet + (s.logdet_x if self.reml else 0.0) + self.dof * np.log(2 * np.pi * sigma**2) + s.rss / sigma**2
        )
