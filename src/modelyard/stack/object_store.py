"""The bucket and its users: made in a MinIO of ours, and only checked in somebody else's S3."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from minio import MinioAdmin
from minio.credentials.providers import StaticProvider
from minio.error import MinioAdminException
from urllib3 import PoolManager, Retry, Timeout
from urllib3.exceptions import HTTPError

from modelyard.errors import InvalidSetting, ServiceFailed, UnknownName
from modelyard.stack.bucket_rights import USERS, build_minio_policy
from modelyard.stack.foreign_bucket import check_foreign_bucket

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import LifecycleRuleTypeDef

Keys = tuple[str, str]  # access key, secret key

KEPT_DAYS = 30  # how long an overwrite or a deletion can be undone
_RULE = "modelyard"
_RULES: "list[LifecycleRuleTypeDef]" = [
    {
        "ID": _RULE,
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "NoncurrentVersionExpiration": {"NoncurrentDays": KEPT_DAYS},
        "Expiration": {"ExpiredObjectDeleteMarker": True},
        # MinIO ignores this: it removes what is incomplete after a day of its own accord
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
    }
]
_CONFIG = Config(
    connect_timeout=5,
    read_timeout=60,
    retries={"total_max_attempts": 3, "mode": "standard"},
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)


def prepare_object_store(
    *,
    endpoint: str,
    bucket: str,
    root: Keys | None,
    users: Mapping[str, Keys],
    report: Callable[[str], None],
    wait_s: float = 60,
) -> None:
    """Make the bucket, its rules, its users and their policies; does nothing twice, and is safe twice at once.

    Keys that have changed take the place of the old ones. What others have made is left as it is. A bucket of somebody
    else's is only checked, by using every right that its users need; that leaves a few empty objects.

    Args:
        endpoint: address of the store, e.g. ``http://minio.internal:9000``.
        bucket: its name.
        root: access key and secret key of MinIO's root; None: the store is somebody else's.
        users: keys by name of the user, one of ``bucket_rights.USERS``; MinIO takes access keys of 3 to 20 characters.
        report: told what was done.
        wait_s: for so many seconds a store that does not answer is asked again.

    Raises:
        UnknownName: there is no such user.
        InvalidSetting: the endpoint is no address.
        ServiceFailed: the store does not answer or refuses; the bucket is missing, or its users lack a right.
    """
    for name in users:
        if name not in USERS:
            raise UnknownName("user of the object store", name, USERS)
    clients = {name: _connect(endpoint, keys) for name, keys in users.items()}
    if root is None:
        _wait_for(next(iter(clients.values())), bucket, wait_s=wait_s)
        check_foreign_bucket(clients, bucket=bucket)
        report(f"the bucket {bucket} is there, and {', '.join(users)} may do there what they need")
        return
    store = _connect(endpoint, root)
    _wait_for(store, bucket, wait_s=wait_s)
    with _translated(endpoint, f"to prepare the bucket {bucket}"):
        _make_bucket(store, bucket)
    admin = _connect_admin(endpoint, root)
    for name, (access_key, secret_key) in users.items():
        with _translated(endpoint, f"to prepare the user {name}"):
            admin.user_add(access_key=access_key, secret_key=secret_key)
            policy = f"{bucket}-{name}"
            admin.policy_add(policy_name=policy, policy=build_minio_policy(USERS[name], bucket=bucket))
            admin.policy_set(policy_name=policy, user=access_key)  # this one only, whatever it had
    report(f"the bucket {bucket} keeps old versions for {KEPT_DAYS} days; its users are {', '.join(users)}")


def _connect(endpoint: str, keys: Keys) -> "S3Client":
    access_key, secret_key = keys
    try:
        return boto3.client(
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            config=_CONFIG,
        )
    except ValueError as error:
        raise InvalidSetting(f"{endpoint!r} is no address of an object store: {error}") from None


def _connect_admin(endpoint: str, root: Keys) -> MinioAdmin:
    address = urlparse(endpoint)
    return MinioAdmin(
        endpoint=address.netloc,
        credentials=StaticProvider(*root),
        secure=address.scheme == "https",
        http_client=PoolManager(timeout=Timeout(connect=5, read=60), retries=Retry(2, backoff_factor=0.5)),
    )


def _wait_for(client: "S3Client", bucket: str, *, wait_s: float) -> None:
    """Wait until the store answers as one that is ready; that it refuses is an answer."""
    give_up_s = time.monotonic() + wait_s
    while True:
        try:
            client.get_bucket_location(Bucket=bucket)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] < 500:
                return
            reason = error.response["Error"]["Code"]
        except BotoCoreError as error:
            reason = _one_line(error)
        else:
            return
        if time.monotonic() > give_up_s:
            raise ServiceFailed(
                f"the object store at {client.meta.endpoint_url} was not ready within {wait_s:.0f} s: {reason}; "
                "see that it runs, and what it logs"
            )
        time.sleep(0.5)


def _make_bucket(store: "S3Client", bucket: str) -> None:
    with suppress(store.exceptions.BucketAlreadyOwnedByYou):
        store.create_bucket(Bucket=bucket)
    store.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    others = [rule for rule in _list_rules(store, bucket) if rule.get("ID") != _RULE]
    store.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [*others, *_RULES]})


def _list_rules(store: "S3Client", bucket: str) -> "list[Any]":
    try:
        return list(store.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"])
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchLifecycleConfiguration":
            return []
        raise


@contextmanager
def _translated(endpoint: str, what: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        code = error.response["Error"]["Code"]
        text = f"{error.response['Error'].get('Message')} ({code})"
        if code in ("InvalidAccessKeyId", "SignatureDoesNotMatch"):
            text += "; the secrets minio/root_user and minio/root_password are not those that it was started with"
    except MinioAdminException as error:
        text = _read_admin_error(error)
    except (BotoCoreError, HTTPError) as error:
        text = _one_line(error)
    else:
        return
    raise ServiceFailed(f"the object store at {endpoint} refused {what}: {text}")


def _read_admin_error(error: MinioAdminException) -> str:
    """MinIO's own words, which are JSON at the end of a sentence of its client."""
    try:
        said = json.loads(str(error).partition("Body: ")[2])
        return f"{said['Message']} ({said['Code']})"
    except (ValueError, KeyError):
        return _one_line(error)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
