"""What each user of the bucket may do, and the policy that lets it do that and no more."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """Rights on objects whose names match a pattern; ``list`` is of prefixes, and an empty one is the whole bucket."""

    get: tuple[str, ...] = ()
    put: tuple[str, ...] = ()
    list: tuple[str, ...] = ()
    delete: tuple[str, ...] = ()
    versions: bool = False


RUNS, RAW, INCOMING = "runs/*", "raw/*", "incoming/*"
USERS: Mapping[str, Rights] = {
    "trainer": Rights(list=("runs/",), get=(RUNS, RAW), put=(RUNS,)),
    # what an evaluation logs: it can overwrite neither a model nor a dataset
    "evaluator": Rights(
        list=("runs/",),
        get=(RUNS, RAW),
        put=(
            "runs/*/artifacts/verdict.json",
            "runs/*/artifacts/evaluation/*",
            "runs/*/artifacts/drift/*",
            "runs/*/artifacts/error/*",
        ),
    ),
    "mlflow": Rights(list=("runs/",), get=(RUNS,)),
    # the command line: it verifies and exports datasets, and takes what was dropped under incoming/
    "client": Rights(list=("runs/", "incoming/"), get=(RUNS, RAW, INCOMING), put=(RAW,)),
    "notebook": Rights(list=("",), get=(RUNS, RAW, INCOMING), put=(RUNS, INCOMING), versions=True),  # a person's
    "gc": Rights(list=("runs/",), delete=(RUNS,)),  # what it deletes stays as an old version
    "backup": Rights(list=("",), get=(RUNS, RAW), versions=True),
}


def build_policy(rights: Rights, *, bucket: str) -> dict[str, Any]:
    """The IAM policy of a user, for any S3."""
    root = f"arn:aws:s3:::{bucket}"
    statements = [
        _allow(actions, [f"{root}/{pattern}" for pattern in patterns])
        for actions, patterns in (
            (["s3:GetObject", *_if(rights.versions, "s3:GetObjectVersion")], rights.get),
            (["s3:PutObject", "s3:AbortMultipartUpload"], rights.put),
            (["s3:DeleteObject"], rights.delete),
        )
        if patterns
    ]
    if "" in rights.list:
        statements.append(_allow(["s3:ListBucket", *_if(rights.versions, "s3:ListBucketVersions")], [root]))
    elif rights.list:
        prefixes = {"StringLike": {"s3:prefix": [f"{prefix}*" for prefix in rights.list]}}
        statements.append({**_allow(["s3:ListBucket"], [root]), "Condition": prefixes})
    return {"Version": "2012-10-17", "Statement": statements}


def build_minio_policy(rights: Rights, *, bucket: str) -> dict[str, Any]:
    """The same for MinIO, which lets a user do more than S3 would unless it is told not to.

    By default one may make further keys of one's own, and whoever may delete an object may delete its old versions.
    Whoever may list objects under a prefix lists their old versions there too, and whoever may get them gets those:
    neither can be denied alone. Nobody can remove one.
    """
    policy = build_policy(rights, bucket=bucket)
    root = f"arn:aws:s3:::{bucket}"
    policy["Statement"] += [
        {"Effect": "Deny", "Action": ["admin:*"]},
        {
            "Effect": "Deny",
            "Action": ["s3:DeleteObjectVersion", *_if(not rights.versions, "s3:ListBucketVersions")],
            "Resource": [root, f"{root}/*"],
        },
    ]
    return policy


def _allow(actions: list[str], resources: list[str]) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": actions, "Resource": resources}


def _if(condition: bool, action: str) -> list[str]:
    return [action] if condition else []
