"""Model files on this machine, by content: fetched once, verified at each load."""

import fcntl
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient

from modelyard.data.hashes import HashedFile, digest_files, hash_folder
from modelyard.errors import InvalidSetting
from modelyard.tracking.models import download_model


@dataclass(frozen=True, slots=True)
class ModelCache:
    """A folder with a folder for each model, named by ``digest_files``. It may be deleted at any time."""

    folder: Path

    @contextmanager
    def open(
        self, client: MlflowClient, *, model_id: str, files: Sequence[HashedFile], tell: Callable[[str], None]
    ) -> Iterator[Path]:
        """The folder of a logged model with exactly these files, every one verified now.

        What is not there, or not as recorded, is downloaded; of two processes one does that and the other waits. No
        process changes the folder during the block. ``tell`` hears of a damaged one.

        Raises:
            InvalidSetting: the cache's folder cannot be used.
            ContentMismatch: what MLflow has is not what was recorded either.
            RecordLost: MLflow no longer has the model.
        """
        digest = digest_files(files)
        kept, part = self.folder / digest, self.folder / f"{digest}.part"
        with self._locked(digest):
            if not _is_whole(kept, files):
                if kept.exists():
                    tell(f"the copy of model {model_id} in {kept} was damaged; it is fetched anew")
                    shutil.rmtree(kept)
                shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
                part.mkdir()
                try:
                    download_model(client, model_id=model_id, files=files, folder=part).rename(kept)
                finally:
                    shutil.rmtree(part, ignore_errors=True)
            yield kept

    @contextmanager
    def _locked(self, digest: str) -> Iterator[None]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = (self.folder / f"{digest}.lock").open("w")
        except OSError as error:
            raise InvalidSetting(
                f"models cannot be kept in {self.folder} ({error.strerror}); name another folder with MODELYARD_CACHE"
            ) from None
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)  # the end of a process frees it
            yield


def _is_whole(folder: Path, files: Sequence[HashedFile]) -> bool:
    for compiled in list(folder.rglob("__pycache__")):  # Python puts it beside code, and would run it unseen
        shutil.rmtree(compiled)
    return folder.is_dir() and set(hash_folder(folder)) == set(files)
