"""Raw data: found once, checked, and kept by content as ``raw/<sha256>/<name>``."""

import json
import re
import stat
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import yaml

from modelyard.data.hashes import md5_file, sha256_file
from modelyard.errors import BadInput, DownloadFailed, RawDataMalformed, RawDataNotFound
from modelyard.pipeline.incoming import Choices, find_files, find_preferred, is_name_inside, list_sets, tell_choices
from modelyard.pipeline.raw_store import open_raw_store
from modelyard.workloads.contract import Workload

_SHA256 = re.compile("[0-9a-f]{64}")

Named = str | Path | Sequence[str | Path]  # a file, a folder or s3://bucket/prefix; or several files

DataSource = Literal["file_path", "download", "sample"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RawFile:
    """A raw file by content; its name has a ``/`` where it came from a folder in the folder that was named."""

    name: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LocatedData:
    """Raw files on this machine: where they were found, and why there; with ``folder`` their names begin below it."""

    files: tuple[Path, ...]
    source: DataSource
    why: str
    folder: Path | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(path.relative_to(self.folder).as_posix() if self.folder else path.name for path in self.files)


@dataclass(frozen=True, slots=True, kw_only=True)
class HashedData:
    """Located data by content, as it was before anybody read it: ``raw`` is what will be on record."""

    located: LocatedData
    raw: "RawData"


@dataclass(frozen=True, slots=True, kw_only=True)
class RawData:
    """Raw data in the store: ``digest`` is the sha256 of the one file, or of the manifest of several."""

    digest: str
    files: tuple[RawFile, ...]
    source: DataSource
    why: str
    dvc_md5: str | None

    def reference(self) -> dict[str, Any]:
        """What a job names it by, JSON values; where it was found on somebody's machine is not part of it."""
        return {
            "digest": self.digest,
            "files": [asdict(file) for file in self.files],
            "source": self.source,
            "dvc_md5": self.dvc_md5,
        }


def locate_raw(
    workload: Workload, *, data: Named | None, data_dir: Path, folder: Path, report: Callable[[str], None]
) -> LocatedData:
    """Find the raw files: those named, else the data folder's, else the public download, else the built-in sample.

    Args:
        workload: whose data.
        data: a file, a folder or ``s3://bucket/prefix`` that was named, or several files; with it nothing else is
            tried. Of a folder or prefix the first of the workload's own file names or sets of them is taken, else every
            file that can be read. Files of a set come in its order.
        data_dir: the data folder.
        folder: where a download or sample is written.
        report: told what is being tried.

    Raises:
        BadInput: nothing was named, or several files are called alike or are no files.
        RawDataNotFound: the named file is not there.
        RawDataMalformed: the named folder or prefix holds nothing that can be read.
        ServiceFailed: the bucket is not there, does not answer, or refuses.
    """
    spec = workload.spec
    if data is not None:
        named = [data] if isinstance(data, str | Path) else list(data)
        if len(named) > 1:
            return _locate_several(named, preferred=spec.raw_files)
        return _locate_named(named[0] if named else "", preferred=spec.raw_files, folder=folder, report=report)
    found = find_preferred(data_dir / spec.name, spec.raw_files) or find_preferred(data_dir, spec.raw_files)
    if found is not None:
        return LocatedData(files=found, source="file_path", why=f"found in the data folder {data_dir}")
    report(f"no {' or '.join(tell_choices(spec.raw_files))} in {data_dir / spec.name}: trying the public download")
    try:
        files = workload.download(folder)
        return LocatedData(files=tuple(files), source="download", why="downloaded, checksum verified")
    except DownloadFailed as error:
        files = workload.sample(folder)
        why = f"SAMPLE: made-up data, since none was found in {data_dir / spec.name} and {error}"
        return LocatedData(files=tuple(files), source="sample", why=why)


def _locate_several(named: Sequence[str | Path], *, preferred: Choices) -> LocatedData:
    """Files that were named one by one; those of a set come in its order."""
    paths = [Path(one) for one in named]
    for given, path in zip(named, paths, strict=True):
        if str(given).startswith("s3:/") or _is_folder(path):
            raise BadInput(
                f"of several --data each is a file, and {given} is not; name one folder or s3://bucket/prefix with all"
            )
    by_name = {path.name: path for path in paths}
    if len(by_name) < len(paths):
        twice = next(path.name for path in paths if by_name[path.name] is not path)
        raise BadInput(f"two of the files of --data are called {twice}; rename one, or name a folder that holds both")
    names = next((names for names in list_sets(preferred) if {*names} == {*by_name}), tuple(by_name))
    return LocatedData(files=tuple(by_name[name] for name in names), source="file_path", why="named")


def _locate_named(data: str | Path, *, preferred: Choices, folder: Path, report: Callable[[str], None]) -> LocatedData:
    if not str(data):
        raise BadInput("--data is empty; name a file, a folder or s3://bucket/prefix")
    if str(data).startswith("s3:/"):
        from modelyard.pipeline.incoming_bucket import download  # boto3 takes a third of a second

        copies = folder / "incoming"
        address, files = download(str(data), folder=copies, preferred=preferred, report=report)
        return LocatedData(files=files, source="file_path", why=f"copied from {address}", folder=copies)
    path = Path(data)
    is_folder = _is_folder(path)
    root = path if is_folder else path.parent
    while "=" in root.name:  # a part of a partitioned folder keeps the names that hold its values
        root = root.parent
    if is_folder:
        return LocatedData(files=find_files(path, preferred=preferred), source="file_path", why="named", folder=root)
    return LocatedData(files=(path,), source="file_path", why="named", folder=None if root == path.parent else root)


def _is_folder(path: Path) -> bool:
    """Whether it is a folder; else it is a file.

    Raises:
        RawDataNotFound: it is not there.
        RawDataMalformed: it is neither, or cannot be looked at.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise RawDataNotFound(path) from None
    except OSError as error:
        raise RawDataMalformed(path, [f"it cannot be read: {error.strerror}"]) from None
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        raise RawDataMalformed(path, ["it is neither a file nor a folder"], hint="Name a file.")
    return stat.S_ISDIR(mode)


def hash_raw(located: LocatedData) -> HashedData:
    """Hash raw files before they are read, so that what is on record is what was read.

    Raises:
        RawDataMalformed: a file that cannot be read, a name that is no printable text, or a ``.dvc`` file beside the
            data that says another md5.
    """
    for name in located.names:
        if not name.isprintable():  # nor is a name that is no UTF-8
            raise RawDataMalformed(repr(name)[1:-1], ["its name is no printable text"], hint="Rename the file.")
    try:
        files = tuple(
            RawFile(name=name, sha256=sha256_file(path), size_bytes=path.stat().st_size)
            for name, path in zip(located.names, located.files, strict=True)
        )
        dvc_md5 = find_dvc_md5(located.files)
    except OSError as error:
        raise RawDataMalformed(error.filename, [f"it cannot be read: {error.strerror}"]) from None
    raw = RawData(digest=_digest(files), files=files, source=located.source, why=located.why, dvc_md5=dvc_md5)
    return HashedData(located=located, raw=raw)


def store_raw(hashed: HashedData, *, raw_uri: str) -> RawData:
    """Copy raw files into the store by content; a file that is there already is verified, not copied again.

    Raises:
        ContentMismatch: the store holds other bytes under that digest.
        RawDataMalformed: a file was changed or removed since it was hashed.
        ServiceFailed: the store does not answer, or refuses.
    """
    store, raw = open_raw_store(raw_uri), hashed.raw
    for path, file in zip(hashed.located.files, raw.files, strict=True):
        try:
            store.keep(path, name=f"{file.sha256}/{file.name}", sha256=file.sha256)
        except FileNotFoundError:
            problem = "it was removed while it was being used"
            raise RawDataMalformed(path, [problem], hint="Put it back.") from None
    if len(raw.files) > 1:
        with tempfile.TemporaryDirectory(prefix="modelyard-") as folder:
            manifest = Path(folder, "manifest.json")
            manifest.write_bytes(_manifest(raw.files))
            store.keep(manifest, name=f"{raw.digest}/{manifest.name}", sha256=raw.digest)
    return raw


def fetch_raw(reference: Mapping[str, Any], *, raw_uri: str, folder: Path) -> HashedData:
    """Raw data that a job names, as it is in the store; every file is verified.

    Args:
        reference: as ``RawData.reference`` gives it.
        raw_uri: address of the store.
        folder: where copies are made, if the store is no folder of this machine.

    Raises:
        RecordLost: a file is not there.
        ContentMismatch: a file's bytes are not those that its name says.
        BadInput: the reference names no content.
        ServiceFailed: the store does not answer, or refuses.
    """
    files = tuple(RawFile(name=f["name"], sha256=f["sha256"], size_bytes=f["size_bytes"]) for f in reference["files"])
    named = all(_SHA256.fullmatch(file.sha256) and is_name_inside(file.name) for file in files)
    if not (files and named and _digest(files) == reference["digest"]):
        raise BadInput(f"{reference['digest']} is no content of the raw store; give the data again")
    store = open_raw_store(raw_uri)
    paths = tuple(store.fetch(f"{file.sha256}/{file.name}", sha256=file.sha256, folder=folder) for file in files)
    raw = RawData(
        digest=reference["digest"],
        files=files,
        source=reference["source"],
        why="from the raw store",
        dvc_md5=reference["dvc_md5"],
    )
    return HashedData(located=LocatedData(files=paths, source=raw.source, why=raw.why), raw=raw)


def _digest(files: Sequence[RawFile]) -> str:
    return files[0].sha256 if len(files) == 1 else sha256(_manifest(files)).hexdigest()


def _manifest(files: Sequence[RawFile]) -> bytes:
    return json.dumps(
        [asdict(file) for file in sorted(files, key=lambda f: (f.name, f.sha256))], sort_keys=True
    ).encode()


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
