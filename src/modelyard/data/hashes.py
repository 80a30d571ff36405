"""Files by content: the sha256 of a file, and of every file of a folder."""

import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class HashedFile:
    """A file by content: ``path`` is relative to the dataset or model it belongs to, ``sha256`` has 64 hex digits."""

    path: str
    sha256: str
    size_bytes: int


def sha256_file(path: Path) -> str:
    """sha256 of a file's bytes: 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def md5_file(path: Path) -> str:
    """md5 of a file's bytes, as DVC names files: 32 hexadecimal digits. No proof against anybody who wants a clash."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def hash_folder(root: Path, *, leave_out: Collection[str] = ()) -> tuple[HashedFile, ...]:
    """Every file below ``root`` but those left out, sorted by path."""
    return tuple(
        HashedFile(str(path.relative_to(root)), sha256_file(path), path.stat().st_size)
        for path in sorted(root.rglob("*"))
        if path.is_file() and str(path.relative_to(root)) not in leave_out
    )


def digest_files(files: Iterable[HashedFile]) -> str:
    """sha256 (64 hex digits) of a list of files: of their paths, hashes and sizes, whatever their order."""
    listed = [asdict(file) for file in sorted(files, key=lambda file: file.path)]
    text = json.dumps(listed, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
