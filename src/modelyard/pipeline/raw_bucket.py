"""The raw store in a bucket: objects that are put whole and once, by keys that may neither list nor remove.

Address and keys are found by boto3's own rules: AWS_ENDPOINT_URL_S3, AWS_SHARED_CREDENTIALS_FILE, …
"""

from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256 as new_sha256
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from modelyard.errors import ContentMismatch, InvalidSetting, RawDataMalformed, RecordLost, ServiceFailed

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

PART_BYTES = 16 << 20  # what is in memory at once, and the most that is put in one piece
_MAX_PARTS = 10_000  # S3's limit
_CONFIG = Config(
    connect_timeout=5,
    read_timeout=60,
    retries={"total_max_attempts": 3, "mode": "standard"},
    # ours is a sha256 that is known before; boto3's default, a second checksum, is refused by some stores
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)
_REMEDIES = {
    "AccessDenied": "its user lacks the right to do this, or it is not there and the user may not list",
    "InvalidAccessKeyId": "the keys that AWS_SHARED_CREDENTIALS_FILE names are not known there",
    "SignatureDoesNotMatch": "the keys that AWS_SHARED_CREDENTIALS_FILE names are not the right ones",
    "NoSuchBucket": "make the bucket, or name another one with MODELYARD_BUCKET",
}
_THERE_ALREADY = ("PreconditionFailed", "ConditionalRequestConflict")
_OTHER_BYTES = ("XAmzContentChecksumMismatch", "BadDigest")


def open_client() -> "S3Client":
    """A client with the address and the keys that boto3 finds.

    Raises:
        InvalidSetting: they cannot be used.
    """
    try:
        return boto3.Session().client("s3", config=_CONFIG)  # not the shared one, which keeps old keys
    except (BotoCoreError, ValueError) as error:
        raise InvalidSetting(f"the object store's address or keys cannot be used: {_one_line(error)}") from None


@contextmanager
def translated(client: "S3Client", uri: str, *, remedies: Mapping[str, str] = _REMEDIES) -> Iterator[None]:
    """Turn what boto3 raises in the block, about the object or folder ``uri``, into one error of ours.

    Raises:
        ServiceFailed: the store does not answer, or refuses; ``remedies`` say by its code what to do.
    """
    endpoint = client.meta.endpoint_url
    try:
        yield
    except ClientError as error:
        code = _code(error)
        text = error.response["Error"].get("Message") or code
        remedy = remedies.get(code, "try again; the store's own log says more")
        raise ServiceFailed(f"the object store at {endpoint} refused {uri}: {text} ({code}); {remedy}") from None
    except BotoCoreError as error:
        raise ServiceFailed(
            f"the object store at {endpoint} cannot be used: {_one_line(error)}; see that it runs, that "
            "AWS_ENDPOINT_URL_S3 names it and AWS_SHARED_CREDENTIALS_FILE its keys, then try again"
        ) from None


@dataclass(frozen=True, slots=True)
class _Hashed:
    """A local file, hashed whole and by the parts that it is put in."""

    sha256: str
    part_bytes: int
    parts: tuple[bytes, ...]

    @property
    def checksum(self) -> str:
        """What S3 calls the object's sha256: of one part that of its bytes, of several that of their hashes."""
        if len(self.parts) == 1:
            return _encode(self.parts[0])
        return f"{_encode(new_sha256(b''.join(self.parts)).digest())}-{len(self.parts)}"


class RawBucket:
    """The raw store under a prefix of a bucket."""

    def __init__(self, bucket: str, prefix: str) -> None:
        self._bucket, self._prefix = bucket, prefix
        self._client = open_client()

    def keep(self, path: Path, *, name: str, sha256: str) -> None:
        hashed = _hash(path)
        if hashed.sha256 != sha256:
            raise _changed(path)
        key = f"{self._prefix}/{name}"
        if self._holds(key, hashed) or self._put(path, key, hashed) or self._holds(key, hashed):
            return
        raise ServiceFailed(
            f"the object store at {self._client.meta.endpoint_url} holds {self._uri(key)} and refuses to show it; "
            "its user needs the right s3:GetObject there"
        )

    def fetch(self, name: str, *, sha256: str, folder: Path) -> Path:
        key, target = f"{self._prefix}/{name}", folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._translated(key):
            try:
                body = self._client.get_object(Bucket=self._bucket, Key=key)["Body"]
            except self._client.exceptions.NoSuchKey:
                lost = f"the raw store has lost {self._uri(key)}; put the file back, or give the data again"
                raise RecordLost(lost) from None
            with closing(body), target.open("wb") as file:
                found = _hash_stream(body, file)
        if found != sha256:
            target.unlink()
            raise ContentMismatch(self._uri(key), expected=sha256, found=found)
        return target

    def _holds(self, key: str, hashed: _Hashed) -> bool:
        """Whether an object is there, verified by the store's own checksum if it tells one, else by its bytes."""
        s3, bucket = self._client, self._bucket
        with self._translated(key):
            try:
                head = s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
            except ClientError:
                # 404; or 403, which S3 says of what is not there to keys that may not list. An answer to HEAD gives no
                # reason: if it was a refusal, the upload is told why
                return False
            if head.get("ChecksumSHA256") == hashed.checksum:
                return True
            with closing(s3.get_object(Bucket=bucket, Key=key)["Body"]) as body:
                found = _hash_stream(body)
        if found != hashed.sha256:
            raise ContentMismatch(self._uri(key), expected=hashed.sha256, found=found)
        return True

    def _put(self, path: Path, key: str, hashed: _Hashed) -> bool:
        """Put a file of which the store accepts no other bytes; False if there is an object already."""
        with path.open("rb") as file, self._translated(key):
            try:
                if len(hashed.parts) == 1:
                    self._client.put_object(
                        Bucket=self._bucket,
                        Key=key,
                        Body=file.read(hashed.part_bytes),
                        ChecksumSHA256=hashed.checksum,
                        IfNoneMatch="*",
                    )
                else:
                    self._put_parts(file, key, hashed)
            except ClientError as error:
                if _code(error) in _THERE_ALREADY:
                    return False
                if _code(error) in _OTHER_BYTES:
                    raise _changed(path) from None
                raise
        return True

    def _put_parts(self, file: BinaryIO, key: str, hashed: _Hashed) -> None:
        s3, bucket = self._client, self._bucket
        upload_id = s3.create_multipart_upload(Bucket=bucket, Key=key, ChecksumAlgorithm="SHA256")["UploadId"]
        try:
            done: list[CompletedPartTypeDef] = []
            for number, digest in enumerate(hashed.parts, start=1):
                checksum = _encode(digest)
                answer = s3.upload_part(
                    Bucket=bucket,
                    Key=key,
                    UploadId=upload_id,
                    PartNumber=number,
                    Body=file.read(hashed.part_bytes),
                    ChecksumSHA256=checksum,
                )
                done.append({"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": checksum})
            s3.complete_multipart_upload(
                Bucket=bucket, Key=key, UploadId=upload_id, MultipartUpload={"Parts": done}, IfNoneMatch="*"
            )
        except BaseException:
            with suppress(ClientError, BotoCoreError):  # what this leaves the bucket's lifecycle rule removes
                s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)
            raise

    def _uri(self, key: str) -> str:
        return f"s3://{self._bucket}/{key}"

    def _translated(self, key: str) -> AbstractContextManager[None]:
        return translated(self._client, self._uri(key))


def _hash(path: Path) -> _Hashed:
    part_bytes = max(PART_BYTES, -(-path.stat().st_size // _MAX_PARTS))
    whole, parts = new_sha256(), []
    with path.open("rb") as file:
        while part := file.read(part_bytes):
            whole.update(part)
            parts.append(new_sha256(part).digest())
    return _Hashed(whole.hexdigest(), part_bytes, tuple(parts) or (whole.digest(),))


def _hash_stream(body: "StreamingBody", copy: BinaryIO | None = None) -> str:
    hashed = new_sha256()
    for chunk in body.iter_chunks(1 << 20):
        hashed.update(chunk)
        if copy is not None:
            copy.write(chunk)
    return hashed.hexdigest()


def _changed(path: Path) -> RawDataMalformed:
    return RawDataMalformed(path, ["it was changed while it was being used"], hint="Run the command again.")


def _encode(digest: bytes) -> str:
    return b64encode(digest).decode()


def _code(error: ClientError) -> str:
    return error.response["Error"]["Code"]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
