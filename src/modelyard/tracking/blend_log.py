"""Blends as a run logs them: members, weights, and a copy of every file."""

import json
import shutil
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.entities import LoggedModelInput
from mlflow.models import Model

from modelyard.tracking.blends import BLEND_FILE, LOADER, MEMBERS_FOLDER
from modelyard.tracking.models import LoggedModel, store_model
from modelyard.tracking.runs import ActiveRun


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A model that a blend is made of.

    Attributes:
        run_id: its training run, ``model_id`` the logged model (m-…).
        model_type: e.g. ``ridge``.
        sha256: of the list of its files, as ``digest_files`` computes it.
        root: the folder of its files, verified.
        estimator: opened from there.
    """

    run_id: str
    model_id: str
    model_type: str
    sha256: str
    root: Path
    estimator: Any

    def describe(self, weight: float) -> dict[str, Any]:
        """What is kept of it, JSON values."""
        return {
            "run_id": self.run_id,
            "model_id": self.model_id,
            "model_type": self.model_type,
            "sha256": self.sha256,
            "weight": weight,
        }


def log_blend(
    run: ActiveRun,
    members: Sequence[Member],
    weights: Sequence[float],
    *,
    name: str,
    input_example: pd.DataFrame,
    params: Mapping[str, Any],
    tags: Mapping[str, str],
) -> LoggedModel:
    """Log a blend with a copy of every member, and show the members as inputs of the run; return its files' hashes.

    Args:
        run: the blend's run.
        members: what it is made of, verified.
        weights: one a member, in their order.
        name: name of the logged model.
        input_example: a few rows of X.
        params: logged on the model as well.
        tags: tags of the logged model.
    """

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's own types, when this part of it is imported
        import mlflow.pyfunc

    def save(root: Path, model: Model) -> None:
        mlflow.pyfunc.save_model(
            str(root),
            loader_module=LOADER,
            mlflow_model=model,
            signature=Model.load(str(members[0].root)).signature,  # all take the rows of one dataset
            input_example=input_example,
            pip_requirements=_list_requirements(members),
        )
        for place, member in enumerate(members, 1):
            shutil.copytree(member.root, root / MEMBERS_FOLDER / str(place))
        described = [member.describe(weight) for member, weight in zip(members, weights, strict=True)]
        (root / BLEND_FILE).write_text(json.dumps({"members": described}, indent=2), encoding="utf-8")

    run.client.log_inputs(run.run_id, models=[LoggedModelInput(member.model_id) for member in members])
    return store_model(run, save, name=name, model_type="blend", params=params, tags=tags)


def _list_requirements(members: Sequence[Member]) -> list[str]:
    """What any of the members needs."""
    lines = [line for member in members for line in (member.root / "requirements.txt").read_text().splitlines()]
    return sorted({line.strip() for line in lines if line.strip()})
