"""Who may do what in the bucket, each rule tried with the user's own keys."""

import pytest
import requests
from botocore.exceptions import ClientError
from minio import MinioAdmin
from minio.credentials.providers import StaticProvider
from minio.error import MinioAdminException

USERS = ("trainer", "evaluator", "mlflow", "client", "notebook", "gc", "backup")
MODEL, DATASET, VERDICT, DRIFT, PREDICTIONS, RAW, INCOMING = (
    "runs/0/rights/artifacts/model/model.skops",
    "runs/0/rights/artifacts/metadata/X.parquet",
    "runs/0/rights/artifacts/verdict.json",
    "runs/0/rights/artifacts/drift/report.html",
    "runs/0/rights/artifacts/evaluation/predictions.parquet",
    "raw/00/a.csv",
    "incoming/rights/a.csv",
)
CALLS = {
    "list runs": lambda s3, bucket: s3.list_objects_v2(Bucket=bucket, Prefix="runs/"),
    "list raw": lambda s3, bucket: s3.list_objects_v2(Bucket=bucket, Prefix="raw/"),
    "list incoming": lambda s3, bucket: s3.list_objects_v2(Bucket=bucket, Prefix="incoming/"),
    "list all": lambda s3, bucket: s3.list_objects_v2(Bucket=bucket),
    "list versions": lambda s3, bucket: s3.list_object_versions(Bucket=bucket, Prefix="runs/"),
    "get model": lambda s3, bucket: s3.get_object(Bucket=bucket, Key=MODEL),
    "get raw": lambda s3, bucket: s3.get_object(Bucket=bucket, Key=RAW),
    "get incoming": lambda s3, bucket: s3.get_object(Bucket=bucket, Key=INCOMING),
    "put model": lambda s3, bucket: s3.put_object(Bucket=bucket, Key=MODEL, Body=b"another"),
    "put dataset": lambda s3, bucket: s3.put_object(Bucket=bucket, Key=DATASET, Body=b"another"),
    "put verdict": lambda s3, bucket: s3.put_object(Bucket=bucket, Key=VERDICT, Body=b"{}"),
    "put drift": lambda s3, bucket: s3.put_object(Bucket=bucket, Key=DRIFT, Body=b"a page"),
    "put predictions": lambda s3, bucket: s3.put_object(Bucket=bucket, Key=PREDICTIONS, Body=b"answers"),
    "put raw": lambda s3, bucket: s3.put_object(Bucket=bucket, Key=RAW, Body=b"another"),
    "put incoming": lambda s3, bucket: s3.put_object(Bucket=bucket, Key=INCOMING, Body=b"another"),
    "put elsewhere": lambda s3, bucket: s3.put_object(Bucket=bucket, Key="elsewhere", Body=b"?"),
    "delete model": lambda s3, bucket: s3.delete_object(Bucket=bucket, Key=MODEL),
    "delete raw": lambda s3, bucket: s3.delete_object(Bucket=bucket, Key=RAW),
    "delete incoming": lambda s3, bucket: s3.delete_object(Bucket=bucket, Key=INCOMING),
}
SEES_RUNS = {"list runs", "list versions", "get model"}
SEES_ALL = SEES_RUNS | {"list raw", "list incoming", "list all", "get raw"}
PUTS_RUNS = {"put model", "put dataset", "put verdict", "put drift", "put predictions"}
# MinIO lets whoever may list objects list their old versions too; nobody may delete one
MAY = {
    "trainer": SEES_RUNS | PUTS_RUNS | {"get raw"},
    "evaluator": SEES_RUNS | {"get raw", "put verdict", "put drift", "put predictions"},
    "mlflow": SEES_RUNS,
    "client": SEES_RUNS | {"get raw", "put raw", "list incoming", "get incoming"},
    "notebook": SEES_ALL | PUTS_RUNS | {"get incoming", "put incoming"},
    "gc": {"list runs", "list versions", "delete model"},
    "backup": SEES_ALL,
}
ADMINISTRATION = {
    "make a bucket": lambda s3, bucket: s3.create_bucket(Bucket="another"),
    "remove the bucket": lambda s3, bucket: s3.delete_bucket(Bucket=bucket),
    "stop versioning": lambda s3, bucket: s3.put_bucket_versioning(
        Bucket=bucket, VersioningConfiguration={"Status": "Suspended"}
    ),
    "open the bucket": lambda s3, bucket: s3.put_bucket_policy(
        Bucket=bucket,
        Policy='{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:*", '
        f'"Resource": "arn:aws:s3:::{bucket}/*"}}]}}',
    ),
    "shorten what is kept": lambda s3, bucket: s3.delete_bucket_lifecycle(Bucket=bucket),
}


@pytest.fixture
def version(project):
    """Ids of the versions of objects that are there for a test, by key."""
    root = project.s3("root")
    return {
        key: root.put_object(Bucket=project.bucket, Key=key, Body=b"content")["VersionId"]
        for key in (MODEL, DATASET, VERDICT, DRIFT, PREDICTIONS, RAW, INCOMING)
    }


def is_allowed(call, *arguments):
    try:
        call(*arguments)
    except ClientError as error:
        assert error.response["Error"]["Code"] == "AccessDenied", error
        return False
    return True


@pytest.mark.parametrize("user", USERS)
def test_a_user_may_do_its_work_and_nothing_else(project, version, user):
    s3 = project.s3(user)
    assert {name for name, call in CALLS.items() if is_allowed(call, s3, project.bucket)} == MAY[user]


@pytest.mark.parametrize("user", USERS)
def test_nobody_but_init_administers(project, user):
    s3 = project.s3(user)
    assert [name for name, call in ADMINISTRATION.items() if is_allowed(call, s3, project.bucket)] == []
    admin = MinioAdmin(
        endpoint=project.s3_url.removeprefix("http://"), credentials=StaticProvider(*project.keys(user)), secure=False
    )
    mine = dict(zip(("access_key", "secret_key"), ("mine-of-mine", "of-no-use-to-anybody"), strict=True))
    # keys made by a user once escaped that user's limits
    for call in (
        admin.user_list,
        admin.info,
        lambda: admin.user_add(**mine),
        lambda: admin.add_service_account(**mine),
    ):
        with pytest.raises(MinioAdminException, match="AccessDenied"):
            call()


@pytest.mark.parametrize("user", USERS)
def test_what_is_overwritten_or_deleted_can_be_had_back(project, version, user):
    s3, root = project.s3(user), project.s3("root")
    for key, number in version.items():
        for change in (
            lambda key=key: s3.put_object(Bucket=project.bucket, Key=key, Body=b"stolen"),
            lambda key=key: s3.delete_object(Bucket=project.bucket, Key=key),
        ):
            is_allowed(change)
        one = {"Bucket": project.bucket, "Key": key, "VersionId": number}
        assert not is_allowed(lambda one=one: s3.delete_object(**one))
        assert root.get_object(**one)["Body"].read() == b"content"


def test_without_keys_nothing_is_to_be_had(project, version):
    for key in ("", MODEL, RAW, "?list-type=2"):
        assert requests.get(f"{project.s3_url}/{project.bucket}/{key}", timeout=10).status_code == 403, key


def test_the_bucket_keeps_old_versions_for_a_while(project):
    root = project.s3("root")
    assert root.get_bucket_versioning(Bucket=project.bucket)["Status"] == "Enabled"
    [rule] = root.get_bucket_lifecycle_configuration(Bucket=project.bucket)["Rules"]
    assert (rule["Status"], rule["NoncurrentVersionExpiration"]) == ("Enabled", {"NoncurrentDays": 30})
    assert [bucket["Name"] for bucket in root.list_buckets()["Buckets"]] == [project.bucket]
