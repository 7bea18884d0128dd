"""Linear algebra that bears what fits bring: singular systems, and curvatures that are not finite."""

import numpy as np


def solve_all(matrices: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve many small systems; a singular one gets its least-squares solution of least length.

    One singular matrix must not cost the others their solution.

    Args:
        matrices: [systems, P, P].
        right: [systems, P].

    Returns:
        Solutions, [systems, P]; nan for a system with numbers that are not finite.
    """
    try:
        return np.linalg.solve(matrices, right[:, :, None])[:, :, 0]
    except np.linalg.LinAlgError:
        return np.array([_solve(matrix, each) for matrix, each in zip(matrices, right, strict=True)])


def _solve(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    try:
        return np.linalg.solve(matrix, right)
    except np.linalg.LinAlgError:
        pass
    if not (np.isfinite(matrix).all() and np.isfinite(right).all()):
        return np.full(len(right), np.nan)
    try:
        return np.linalg.lstsq(matrix, right, rcond=None)[0]
    except np.linalg.LinAlgError:  # the singular values were not found
        return np.full(len(right), np.nan)


def eigen(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues and eigenvectors of a symmetric matrix; what is not finite in it counts as nothing.

    Args:
        matrix: [P, P].

    Returns:
        Eigenvalues, [P], in rising order, and their vectors, [P, P].
    """
    values, vectors = np.linalg.eigh(np.nan_to_num(matrix, posinf=0.0, neginf=0.0))
    return values, vectors
