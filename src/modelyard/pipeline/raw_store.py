"""Where raw data is kept by content: a folder, or a bucket; both refuse what is not what its name says."""

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlparse

from modelyard.data.hashes import sha256_file
from modelyard.errors import ContentMismatch, InvalidSetting, RawDataMalformed, RecordLost


class RawStore(Protocol):
    """Files under names that hold their sha256; none is ever changed, listed or removed."""

    def keep(self, path: Path, *, name: str, sha256: str) -> None:
        """Keep a copy of ``path``, visible only whole; one that is there already is verified, not copied again.

        Raises:
            ContentMismatch: the store holds other bytes under that name.
            RawDataMalformed: the file no longer has that sha256.
            FileNotFoundError: it was removed.
            ServiceFailed: the store does not answer, or refuses.
        """

    def fetch(self, name: str, *, sha256: str, folder: Path) -> Path:
        """The file of that name on this machine, verified; a copy, if one is needed, is made below ``folder``.

        Raises:
            RecordLost: it is not there.
            ContentMismatch: its bytes are not those of that sha256.
            ServiceFailed: the store does not answer, or refuses.
        """


def open_raw_store(raw_uri: str) -> RawStore:
    """The store at ``file:///folder`` or ``s3://bucket/prefix``.

    Raises:
        InvalidSetting: any other address.
    """
    address = urlparse(raw_uri)
    if address.scheme == "file":
        return RawFolder(Path(unquote(address.path)))
    if address.scheme == "s3" and address.netloc:
        from modelyard.pipeline.raw_bucket import RawBucket  # boto3 takes a third of a second

        return RawBucket(address.netloc, address.path.strip("/"))
    raise InvalidSetting(f"{raw_uri!r} is no address of a raw store: give file:///folder or s3://bucket/raw")


class RawFolder:
    """The raw store in a folder; what it holds is used where it lies."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def keep(self, path: Path, *, name: str, sha256: str) -> None:
        target = self._root / name
        if target.is_file():
            found = sha256_file(target)
            if found != sha256:
                raise ContentMismatch(str(target), expected=sha256, found=found)
            _check_unchanged(path, path, sha256)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=target.parent) as part, path.open("rb") as source:
            shutil.copyfileobj(source, part, 1 << 20)
            part.flush()
            _check_unchanged(path, Path(part.name), sha256)
            Path(part.name).chmod(0o400)
            with suppress(FileExistsError):  # another process has stored the same bytes meanwhile
                os.link(part.name, target)

    def fetch(self, name: str, *, sha256: str, folder: Path) -> Path:  # noqa: ARG002
        path = self._root / name
        try:
            found = sha256_file(path)
        except FileNotFoundError:
            raise RecordLost(f"the raw store has lost {path}; put the file back, or give the data again") from None
        if found != sha256:
            raise ContentMismatch(str(path), expected=sha256, found=found)
        return path


def _check_unchanged(path: Path, copy: Path, sha256: str) -> None:
    if sha256_file(copy) != sha256:
        raise RawDataMalformed(path, ["it was changed while it was being used"], hint="Run the command again.")
