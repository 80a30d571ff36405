"""Raw data: found once, checked, and kept by content as ``raw/<sha256>/<name>``."""

import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlparse

import yaml

from modelyard.data.hashes import md5_file, sha256_file
from modelyard.errors import ContentMismatch, DownloadFailed, RawDataMalformed, RawDataNotFound
from modelyard.workloads.contract import Workload

DataSource = Literal["file_path", "download", "sample"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RawFile:
    """A raw file by content."""

    name: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LocatedData:
    """Raw files on this machine: where they were found, and why there."""

    files: tuple[Path, ...]
    source: DataSource
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RawData:
    """Raw data in the store: ``digest`` is the sha256 of the one file, or of the manifest of several."""

    digest: str
    files: tuple[RawFile, ...]
    source: DataSource
    why: str
    dvc_md5: str | None


def locate_raw(
    workload: Workload, *, data: Path | None, data_dir: Path, folder: Path, report: Callable[[str], None]
) -> LocatedData:
    """Find the raw files: those named, else the data folder's, else the public download, else the built-in sample.

    Args:
        workload: whose data.
        data: a file or folder that was named; with it nothing else is tried.
        data_dir: the data folder.
        folder: where a download or sample is written.
        report: told what is being tried.

    Raises:
        RawDataNotFound: the named file is not there.
        RawDataMalformed: the named folder holds none of the workload's files.
    """
    spec = workload.spec
    if data is not None:
        if data.is_dir():
            found = _find_in(data, spec.raw_files)
            if found is None:
                raise RawDataMalformed(
                    data, [f"holds none of {', '.join(spec.raw_files)}"], hint="Name the file itself."
                )
            return LocatedData(files=(found,), source="file_path", why="named")
        if not data.is_file():
            raise RawDataNotFound(data)
        return LocatedData(files=(data,), source="file_path", why="named")
    found = _find_in(data_dir / spec.name, spec.raw_files) or _find_in(data_dir, spec.raw_files)
    if found is not None:
        return LocatedData(files=(found,), source="file_path", why=f"found in the data folder {data_dir}")
    report(f"no {' or '.join(spec.raw_files)} in {data_dir / spec.name}: trying the public download")
    try:
        files = workload.download(folder)
        return LocatedData(files=tuple(files), source="download", why="downloaded, checksum verified")
    except DownloadFailed as error:
        files = workload.sample(folder)
        why = f"SAMPLE: made-up data, since none was found in {data_dir / spec.name} and {error}"
        return LocatedData(files=tuple(files), source="sample", why=why)


def _find_in(folder: Path, names: Sequence[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


def store_raw(located: LocatedData, *, raw_uri: str) -> RawData:
    """Copy raw files into the store by content; a file that is there already is verified, not copied again.

    Raises:
        ContentMismatch: the store holds other bytes under that digest.
        RawDataMalformed: a ``.dvc`` file beside the data says another md5.
    """
    dvc_md5 = find_dvc_md5(located.files)
    root = Path(unquote(urlparse(raw_uri).path))
    files = tuple(_store_file(path, root) for path in located.files)
    digest = files[0].sha256
    if len(files) > 1:
        manifest = json.dumps([asdict(file) for file in sorted(files, key=lambda f: f.name)], sort_keys=True)
        digest = sha256(manifest.encode()).hexdigest()
        _write(root / digest / "manifest.json", manifest.encode())
    return RawData(digest=digest, files=files, source=located.source, why=located.why, dvc_md5=dvc_md5)


def _store_file(path: Path, root: Path) -> RawFile:
    digest = sha256_file(path)
    target = root / digest / path.name
    if target.is_file():
        found = sha256_file(target)
        if found != digest:
            raise ContentMismatch(str(target), expected=digest, found=found)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as part, path.open("rb") as source:
            shutil.copyfileobj(source, part, 1 << 20)
        found = sha256_file(Path(part.name))
        if found != digest:
            Path(part.name).unlink()
            raise ContentMismatch(str(path), expected=digest, found=f"{found} (it was changed while being read)")
        Path(part.name).replace(target)
    return RawFile(name=path.name, sha256=digest, size_bytes=target.stat().st_size)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as part:
        part.write(content)
    Path(part.name).replace(path)


def find_dvc_md5(files: Sequence[Path]) -> str | None:
    """The md5 of a single raw file as DVC computes it (over its bytes); None for several files.

    Raises:
        RawDataMalformed: a ``.dvc`` file lies beside the data and says another md5.
    """
    if len(files) != 1:
        return None
    path, pointer = files[0], files[0].with_name(files[0].name + ".dvc")
    found = md5_file(path)
    if pointer.is_file():
        try:
            said = yaml.safe_load(pointer.read_text(encoding="utf-8"))["outs"][0]["md5"]
        except (yaml.YAMLError, KeyError, IndexError, TypeError, UnicodeDecodeError):
            raise RawDataMalformed(pointer, ["it is no .dvc file with an md5"], hint="Run dvc add again.") from None
        if said != found:
            problem = f"{pointer.name} says md5 {said}, the file has {found}"
            raise RawDataMalformed(path, [problem], hint="Run dvc checkout for the old data, or dvc add for the new.")
    return found
