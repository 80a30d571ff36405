"""A bucket of somebody else's: nothing of it is administered; each right that its users need is used once."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from modelyard.errors import ServiceFailed
from modelyard.stack.bucket_rights import USERS, Rights

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_PROBE = "modelyard-check"  # stands where a pattern has a star
_WRONG_KEYS = ("InvalidAccessKeyId", "SignatureDoesNotMatch")
# in this order, over all users: what is got has been put, and is deleted last
_ORDER = ("put", "list", "get", "list the versions of", "delete")


def check_foreign_bucket(clients: "Mapping[str, S3Client]", *, bucket: str) -> None:
    """Use each right of each user on empty objects named ``modelyard-check``.

    Raises:
        ServiceFailed: the bucket is missing or cannot be reached, or rights are missing, all of them listed.
    """
    endpoint = next(iter(clients.values())).meta.endpoint_url
    problems, any_right = [], False
    for action in _ORDER:
        for name, client in clients.items():
            for pattern in _list_patterns(USERS[name], action):
                try:
                    _use(client, bucket, action, pattern.replace("*", _PROBE))
                    any_right = True
                except ClientError as error:
                    code = error.response["Error"]["Code"]
                    if code == "NoSuchBucket":
                        raise ServiceFailed(
                            f"there is no bucket {bucket} at {endpoint}; make it, or name another with MODELYARD_BUCKET"
                        ) from None
                    if code in _WRONG_KEYS:
                        problems.append(f"the keys of {name} are not right ({code})")
                    elif code != "NoSuchKey":  # it may be got, but nobody has put it
                        problems.append(f"{name} may not {action} {pattern} ({code})")
                except BotoCoreError as error:
                    reason = " ".join(str(error).split())
                    raise ServiceFailed(f"the object store at {endpoint} cannot be used: {reason}") from None
    if problems and not any_right and all("(AccessDenied)" in problem for problem in problems):
        # what S3 says of a bucket that is not there, to keys with rights on another one
        raise ServiceFailed(
            f"the bucket {bucket} at {endpoint} is not there, or these keys have no right to it; name another with "
            "MODELYARD_BUCKET, or grant what docs/own-services.md lists"
        )
    if problems:
        listed = "; ".join(dict.fromkeys(problems))
        raise ServiceFailed(f"the bucket {bucket} at {endpoint}: {listed}. Grant these rights and start again")


def _list_patterns(rights: Rights, action: str) -> tuple[str, ...]:
    prefixes = tuple(f"{prefix}*" for prefix in rights.list)
    return {
        "put": rights.put,
        "list": prefixes,
        "get": rights.get,
        "list the versions of": prefixes if rights.versions else (),
        "delete": rights.delete,
    }[action]


def _use(client: "S3Client", bucket: str, action: str, key: str) -> None:
    match action:
        case "put":
            client.put_object(Bucket=bucket, Key=key, Body=b"")
        case "list":
            client.list_objects_v2(Bucket=bucket, Prefix=key.removesuffix(_PROBE), MaxKeys=1)
        case "get":
            client.get_object(Bucket=bucket, Key=key)["Body"].close()
        case "list the versions of":
            client.list_object_versions(Bucket=bucket, Prefix=key.removesuffix(_PROBE), MaxKeys=1)
        case "delete":
            client.delete_object(Bucket=bucket, Key=key)
