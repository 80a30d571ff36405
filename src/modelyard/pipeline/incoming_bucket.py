"""Raw data that was dropped in a bucket: found under an address, and copied to where it is read."""

import re
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from modelyard.errors import BadInput, RawDataMalformed, StackRefused
from modelyard.pipeline.incoming import Choices, is_name_inside, select_names
from modelyard.pipeline.raw_bucket import open_client, translated

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# one slash, too: what was made a path on the way has lost the other
_ADDRESS = re.compile(r"s3:/{1,2}(?P<bucket>[^/]+)/*(?P<key>.*)", re.DOTALL)
_CHUNK_BYTES = 1 << 20
_REMEDIES = {
    "AccessDenied": "these keys may not read there; the Compose stack's command line reads incoming/ of the stack's "
    "own bucket and nothing else, so put the files there, or name a file or a folder",
    "InvalidAccessKeyId": "the keys that boto3 finds (AWS_SHARED_CREDENTIALS_FILE, AWS_PROFILE) are not known there",
    "SignatureDoesNotMatch": "the keys that boto3 finds (AWS_SHARED_CREDENTIALS_FILE, AWS_PROFILE) are not right",
    "NoSuchBucket": "name another bucket, or the store that has it with AWS_ENDPOINT_URL_S3",
}


def download(
    address: str, *, folder: Path, preferred: Choices, report: Callable[[str], None]
) -> tuple[str, tuple[Path, ...]]:
    """Copy an object, or the raw files under a prefix, into ``folder``; a megabyte is in memory at a time.

    Address and keys of the store are found by boto3's own rules: AWS_ENDPOINT_URL_S3, AWS_SHARED_CREDENTIALS_FILE, …

    Args:
        address: ``s3://bucket/key`` or ``s3://bucket/prefix``; a prefix ends where a folder would.
        folder: where the copies are made, under the names that they have below the prefix.
        preferred: names to look for first; a tuple of them is a set of files, which are used together.
        report: told what is copied.

    Returns:
        The address without doubt, and the copies.

    Raises:
        BadInput: no address of a bucket.
        RawDataMalformed: nothing that can be read is there, or a key that cannot be a file's name.
        ServiceFailed: no such bucket, no right, or no answer.
        StackRefused: the folder's disk has too little room.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise BadInput(f"{address} is no address of a bucket: write s3://bucket/prefix")
    bucket, key = found["bucket"], found["key"]
    client = open_client()
    size_bytes = _find_size(client, bucket, key)
    if size_bytes is not None:
        chosen, prefix, sizes = [PurePosixPath(key).name], key[: key.rfind("/") + 1], {key: size_bytes}
    else:
        prefix = f"{key.rstrip('/')}/" if key.strip("/") else ""
        sizes = _list_sizes(client, bucket, prefix)
        names = [name[len(prefix) :] for name in sizes]
        chosen = select_names(names, preferred=preferred, where=f"s3://{bucket}/{prefix}")
        if strange := [name for name in chosen if not is_name_inside(name)]:
            problem = f"{len(strange):,} keys cannot be names of files, e.g. {', '.join(map(repr, strange[:3]))}"
            raise RawDataMalformed(f"s3://{bucket}/{prefix}", [problem], hint="Give them others.")
    folder.mkdir(parents=True, exist_ok=True)
    _check_space(folder, sum(sizes[prefix + name] for name in chosen))
    for name in chosen:
        report(f"copying s3://{bucket}/{prefix}{name} ({sizes[prefix + name]:,} bytes)")
        try:
            _copy(client, bucket, prefix + name, folder / name)
        except OSError as error:  # a name that is too long, or a folder's too; a full disk
            problem = f"it cannot be copied to {folder / name}: {error.strerror or error}"
            raise RawDataMalformed(f"s3://{bucket}/{prefix}{name}", [problem]) from None
    return f"s3://{bucket}/{key}", tuple(folder / name for name in chosen)


def _find_size(client: "S3Client", bucket: str, key: str) -> int | None:
    if not key or key.endswith("/"):
        return None
    with translated(client, f"s3://{bucket}/{key}", remedies=_REMEDIES):
        try:
            return client.head_object(Bucket=bucket, Key=key)["ContentLength"]
        except ClientError:
            return None  # not there, or no right; an answer to HEAD gives no reason, and that to the listing does


def _list_sizes(client: "S3Client", bucket: str, prefix: str) -> dict[str, int]:
    with translated(client, f"s3://{bucket}/{prefix}", remedies=_REMEDIES):
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return {one["Key"]: one["Size"] for page in pages for one in page.get("Contents", [])}


def _check_space(folder: Path, needed_bytes: int) -> None:
    free_bytes = shutil.disk_usage(folder).free
    if needed_bytes > free_bytes:
        raise StackRefused(
            f"{folder} has {free_bytes / 2**20:,.0f} MiB free and the data takes {needed_bytes / 2**20:,.0f} MiB; "
            "free some space, or name another folder with TMPDIR"
        )


def _copy(client: "S3Client", bucket: str, key: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with translated(client, f"s3://{bucket}/{key}", remedies=_REMEDIES):
        body = client.get_object(Bucket=bucket, Key=key)["Body"]
        with closing(body), target.open("wb") as file:
            for chunk in body.iter_chunks(_CHUNK_BYTES):
                file.write(chunk)
