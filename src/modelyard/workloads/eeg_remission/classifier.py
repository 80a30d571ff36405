"""The model that is stored: a classifier that answers with the label and its probability."""

from typing import TYPE_CHECKING, Any

from sklearn.base import BaseEstimator, ClassifierMixin

if TYPE_CHECKING:
    import pandas as pd


class RemissionClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc,unused-ignore]
    """Answers with the label and its probability.

    Args:
        classifier: a fitted scikit-learn classifier of the labels 0 and 1, or a pipeline that ends in one.
    """

    def __init__(self, classifier: Any) -> None:
        self.classifier = classifier

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def predict(self, X: "pd.DataFrame") -> "pd.DataFrame":
        """Columns ``remission`` (1 where the probability is 0.5 or more) and ``probability``, n rows each."""
        import pandas as pd

        probability = self.classifier.predict_proba(X)[:, 1]
        return pd.DataFrame({"remission": (probability >= 0.5).astype("int64"), "probability": probability})
