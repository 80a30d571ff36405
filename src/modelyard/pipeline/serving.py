"""Models as applications use them: found by the name of a policy, verified, and answering with what they are."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelyard.data.compatibility import compare_frame, list_features
from modelyard.data.features import fill_features
from modelyard.data.hashes import HashedFile, digest_files
from modelyard.errors import BadInput, SchemaMismatch
from modelyard.pipeline.model_cache import ModelCache
from modelyard.pipeline.models import ask
from modelyard.pipeline.session import Session
from modelyard.store.loadable import Loadable, resolve_loadable
from modelyard.store.models import list_model_files
from modelyard.tracking.models import download_model, open_model

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a model has answered for n rows, and which one it was.

    Attributes:
        values: of shape (n,), or (n, k) where it gives k answers to a row; of objects where these differ in type.
        answers: names of the k columns, where the model names them; else empty.
        policy_id: None, and ``policy_version`` too, where a model version was loaded by its own name.
        model: the model version, e.g. ``houses_model/4``.
        config_defaults: of the policy version.
    """

    values: Any
    answers: tuple[str, ...]
    policy_id: str | None
    policy_version: int | None
    model: str
    config_defaults: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """A model whose files are those on record.

    Attributes:
        source: the policy version and model version that it is.
        digest: sha256 of its list of files.
        estimator: what it was stored as.
        answers: names of the columns that it answers with, where there are several; else empty.
        optional: features that rows may lack; it is given nulls there.
    """

    source: Loadable
    digest: str
    estimator: Any
    answers: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()

    @property
    def features(self) -> list[dict[str, Any]]:
        """The columns that it takes: ``name`` and ``type`` of each, in the order in which it was trained."""
        return list_features(self.source.schema)

    def predict(self, frame: "pd.DataFrame") -> Prediction:
        """One prediction a row.

        Args:
            frame: n rows with the features by their names; their order is free, other columns are left alone, and those
                that are optional may be missing.

        Raises:
            SchemaMismatch: features are missing or of another type; nothing was predicted.
            ModelFailed: the model's code failed, or it has not answered each row once.
        """
        chosen = frame[[column["name"] for column in self.features if column["name"] in frame.columns]]
        differences = compare_frame(chosen, self.features, optional=self.optional)
        if differences:
            raise SchemaMismatch("the input", self.expected, differences)
        return Prediction(
            values=self.ask(fill_features(chosen, self.features, optional=self.optional)),
            answers=self.answers,
            policy_id=self.source.policy_id,
            policy_version=self.source.policy_version,
            model=self.source.model,
            config_defaults=self.source.config_defaults,
        )

    def ask(self, rows: "pd.DataFrame") -> Any:
        """What it answers to rows that were checked, as ``pipeline.models.ask`` gives it."""
        return ask(self.estimator, rows, name=self.source.model, answers=self.answers)

    @property
    def expected(self) -> str:
        """Whose columns the input must have, in words."""
        source = self.source
        return f"{source.dataset_name} {source.dataset_version}, which {source.model} was trained on"


def load_served(session: Session, text: str, *, cache: Path, tell: Callable[[str], None]) -> ServedModel:
    """The model that ``POLICY`` (what is live now), ``POLICY@VERSION`` or ``MODEL/VERSION`` names.

    Args:
        session: whoever may resolve it; the role application suffices.
        text: its name.
        cache: the folder of a ``ModelCache``.
        tell: hears where a cached file was damaged.

    Raises:
        UnknownName: there is no such thing; the nearest that there is, is named.
        NothingLive: the policy has no live version.
        ContentMismatch: a file is missing or not what was recorded; nothing of it was opened.
        UntrustedModel: its files are none that are opened.
        ModelFailed: its own code failed, or a package that it needs is not here.
        RecordLost: MLflow no longer has the model.
    """
    source = resolve_loadable(session.records, text)
    files = list_model_files(session.records, mlflow_model_id=source.mlflow_model_id)
    kept = ModelCache(cache).open(session.mlflow, model_id=source.mlflow_model_id, files=files, tell=tell)
    with kept as folder:
        estimator = open_model(folder, files, model_id=source.mlflow_model_id)
    return ServedModel(
        source=source,
        digest=digest_files(files),
        estimator=estimator,
        answers=estimator.answers,
        optional=estimator.optional,
    )


def download_files(session: Session, text: str, folder: Path) -> tuple[Loadable, list[HashedFile]]:
    """Put every file of a model into a folder, verified; it appears whole or not at all.

    Args:
        session: as for ``load_served``.
        text: its name.
        folder: is not there, or is empty: one that is there stays the same folder.

    Raises:
        BadInput: the folder holds something, or cannot be made.
        ContentMismatch: a file is missing or not what was recorded; the folder is as it was.
    """
    folder = folder.resolve()
    is_there = folder.exists()
    if is_there and not (folder.is_dir() and not any(folder.iterdir())):
        raise BadInput(f"{folder} is there already and not empty; name another folder")
    source = resolve_loadable(session.records, text)
    files = list_model_files(session.records, mlflow_model_id=source.mlflow_model_id)
    try:
        part = Path(
            tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder if is_there else folder.parent)
        )
    except OSError as error:
        raise BadInput(f"{folder} cannot be made ({error.strerror}); name another folder") from None
    try:
        root = download_model(session.mlflow, model_id=source.mlflow_model_id, files=files, folder=part / "files")
        for entry in list(root.iterdir()) if is_there else ():
            entry.rename(folder / entry.name)
        if not is_there:
            root.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return source, files
