"""Weights of a blend: how much each member's answers count, from its answers to rows that it has not learned from."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from modelyard.errors import BadInput

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float64]]

Weights = Literal["inverse_mae", "nnls"]


def weigh(method: Weights, truth: Any, answers: Any) -> list[float]:
    """One weight a member, 0 or more, which add up to 1.

    Args:
        method: ``inverse_mae``: each as good as its mean absolute error is small, w_i = (1 / MAE_i) / Σ (1 / MAE_j);
            ``nnls``: those of the smallest squared error of the blend (non-negative least squares), scaled to add up
            to 1.
        truth: the target of n rows, of shape (n,) or (n, k), in the target's unit.
        answers: of m members to the same rows, of shape (m, n) or (m, n, k).

    Raises:
        BadInput: a number is not finite, the shapes differ, or no weights follow from the answers.
    """
    import numpy as np

    y, given = np.asarray(truth, float), np.asarray(answers, float)
    if given.shape[1:] != y.shape:
        raise BadInput(f"a target of shape {y.shape} cannot be blended from answers of shape {given.shape[1:]}")
    given, y = given.reshape(len(given), -1), y.ravel()
    if y.size == 0:
        raise BadInput("a blend is weighted by answers to validation rows, and there are none")
    for place, member in enumerate(given, 1):
        if not np.isfinite(member).all():
            raise BadInput(
                f"member {place} answers some validation rows with numbers that are not finite; leave it out"
            )
    if not np.isfinite(y).all():
        raise BadInput("the target of some validation rows is not finite; a blend cannot be weighted by them")
    weights = _METHODS[method](y, given)
    return [float(weight) for weight in weights / weights.sum()]


def _weigh_by_inverse_mae(truth: "Array", answers: "Array") -> "Array":
    import numpy as np

    errors = np.abs(answers - truth).mean(axis=1)
    if (errors == 0).any():  # a member that is never wrong needs no other
        errors = np.where(errors == 0, 1.0, np.inf)
    weights: Array = 1 / errors
    return weights


def _weigh_by_least_squares(truth: "Array", answers: "Array") -> "Array":
    from scipy.optimize import nnls

    weights: Array = nnls(answers.T, truth)[0]
    if not weights.sum() > 0:
        raise BadInput("non-negative least squares gives every member the weight 0; use --weights inverse_mae")
    return weights


_METHODS: "dict[Weights, Callable[[Array, Array], Array]]" = {
    "inverse_mae": _weigh_by_inverse_mae,
    "nnls": _weigh_by_least_squares,
}
METHODS = tuple(_METHODS)
