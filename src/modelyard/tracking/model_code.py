"""A model from code beside others of its process: each sees the modules that it was logged with, and no other's."""

import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

_ALONE = threading.RLock()  # modules and path are those of the whole process


class CodeModel:
    """An opened model from code. What it imports under the names of its own files is kept out of ``sys.modules``.

    Two models often bring modules of one name, e.g. two versions with ``features.py``. Python has one module of a name
    in a process, so the second model would compute with the first one's.
    """

    def __init__(self, root: Path, *, code: str | None) -> None:
        """Run the model's code.

        Args:
            root: the model's folder; it must stay as long as the model is used.
            code: the folder of the modules that it brings, below ``root``; None for none.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MLflow's own types, when this part of it is imported
            import mlflow.pyfunc
        self._names = {path.name.partition(".")[0] for path in (root / code).iterdir()} if code else set()
        self._modules: dict[str, ModuleType] = {}
        self._path: list[str] = []
        with self._alone():
            mlflow.models.model.__mlflow_model__ = None  # a model that sets none is not the one opened before
            self._model = mlflow.pyfunc.load_model(str(root), suppress_warnings=True)

    def predict(self, rows: Any) -> Any:
        """What its code answers; one at a time, where it brings modules."""
        if not self._names and not self._path:
            return self._model.predict(rows)
        with self._alone():
            return self._model.predict(rows)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with _ALONE:
            path, writes_nothing = sys.path, sys.dont_write_bytecode
            others = self._take()
            sys.modules.update(self._modules)
            sys.path, sys.dont_write_bytecode = [*self._path, *path], True  # its folder stays as it was verified
            try:
                yield
            finally:
                self._path = [folder for folder in sys.path if folder not in path]
                self._modules = self._take()
                sys.modules.update(others)
                sys.path, sys.dont_write_bytecode = path, writes_nothing

    def _take(self) -> dict[str, ModuleType]:
        """Take the modules of these names out of the process."""
        return {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in self._names}
