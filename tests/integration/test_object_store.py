"""The bucket is made once, each user may do its own work and nothing else, and keys can be changed."""

from concurrent.futures import ThreadPoolExecutor
from secrets import token_urlsafe
from time import monotonic

import pytest
import urllib3
from botocore.exceptions import ClientError
from minio.error import MinioAdminException

from modelyard.errors import InvalidSetting, ServiceFailed, UnknownName
from modelyard.stack.object_store import prepare_object_store
from tests.conftest import free_port
from tests.integration.minio_server import NAMES, run_minio

BUCKET = "modelyard"
RAW = "raw/aa/houses.csv"
MODEL = "runs/1/models/m-1/artifacts/model.skops"
DATASET = "runs/0/r0/artifacts/X.parquet"
VERDICT = "runs/1/r1/artifacts/verdict.json"
DRIFT = "runs/1/r2/artifacts/drift/report.html"
PREDICTIONS = "runs/1/r1/artifacts/evaluation/predictions.parquet"
INCOMING = "incoming/houses/may.csv"
TRACEBACK = "runs/1/r1/artifacts/error/traceback.txt"

# whoever is not named for an action is refused
MAY = {
    "get raw": {"trainer", "evaluator", "client", "notebook", "backup"},
    "get model": {"trainer", "evaluator", "mlflow", "client", "notebook", "backup"},
    "get incoming": {"client", "notebook"},
    "put raw": {"client"},
    "put model": {"trainer", "notebook"},
    "put dataset": {"trainer", "notebook"},
    "put verdict": {"trainer", "evaluator", "notebook"},
    "put drift": {"trainer", "evaluator", "notebook"},
    "put predictions": {"trainer", "evaluator", "notebook"},
    "put incoming": {"notebook"},
    "put traceback": {"trainer", "evaluator", "notebook"},
    "put elsewhere": set(),
    "list runs": {"trainer", "evaluator", "mlflow", "client", "notebook", "gc", "backup"},
    "list incoming": {"client", "notebook", "backup"},
    "list raw": {"notebook", "backup"},
    "list everything": {"notebook", "backup"},
    "list versions": {"notebook", "backup"},
    # MinIO asks for no further right, unlike S3; but only these two can learn of old versions
    "get version": {"trainer", "evaluator", "mlflow", "client", "notebook", "backup"},
    "delete model": {"gc"},
    "delete raw": set(),
    "delete version": set(),
    "delete versions at once": set(),
    "stop versioning": set(),
    "forget rules": set(),
    "open the bucket": set(),
    "remove the bucket": set(),
    "make a bucket": set(),
    "list users": set(),
    "make a user": set(),
    "make a key": set(),
    "change own key": set(),
    "take all rights": set(),
}


@pytest.fixture(scope="module")
def minio():
    with run_minio() as minio:
        minio.prepare()
        yield minio


@pytest.fixture(scope="module")
def objects(minio):
    """One object of each kind, put by root; its version by key."""
    root = minio.connect(minio.root)
    keys = (RAW, MODEL, DATASET, VERDICT, INCOMING, "runs/1/old")
    return {key: root.put_object(Bucket=BUCKET, Key=key, Body=b"1")["VersionId"] for key in keys}


def list_actions(minio, name, objects):
    keys = minio.keys[name]
    s3, admin, at = minio.connect(keys), minio.administer(keys), {"Bucket": BUCKET}
    public = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":["s3:GetObject"],'
    public += f'"Resource":["arn:aws:s3:::{BUCKET}/*"]}}]}}'
    return {
        "get raw": lambda: s3.get_object(**at, Key=RAW)["Body"].close(),
        "get incoming": lambda: s3.get_object(**at, Key=INCOMING)["Body"].close(),
        "get model": lambda: s3.get_object(**at, Key=MODEL)["Body"].close(),
        "put raw": lambda: s3.put_object(**at, Key="raw/bb/new.csv", Body=b"2"),
        "put model": lambda: s3.put_object(**at, Key=MODEL, Body=b"2"),
        "put dataset": lambda: s3.put_object(**at, Key=DATASET, Body=b"2"),
        "put drift": lambda: s3.put_object(**at, Key=DRIFT, Body=b"2"),
        "put predictions": lambda: s3.put_object(**at, Key=PREDICTIONS, Body=b"2"),
        "put incoming": lambda: s3.put_object(**at, Key=INCOMING, Body=b"2"),
        "put verdict": lambda: s3.put_object(**at, Key=VERDICT, Body=b"2"),
        "put traceback": lambda: s3.put_object(**at, Key=TRACEBACK, Body=b"2"),
        "put elsewhere": lambda: s3.put_object(**at, Key="elsewhere", Body=b"2"),
        "list incoming": lambda: s3.list_objects_v2(**at, Prefix="incoming/"),
        "list runs": lambda: s3.list_objects_v2(**at, Prefix="runs/1/"),
        "list raw": lambda: s3.list_objects_v2(**at, Prefix="raw/"),
        "list everything": lambda: s3.list_objects_v2(**at),
        "list versions": lambda: s3.list_object_versions(**at),
        "get version": lambda: s3.get_object(**at, Key=MODEL, VersionId=objects[MODEL])["Body"].close(),
        "delete model": lambda: s3.delete_object(**at, Key="runs/1/old"),
        "delete raw": lambda: s3.delete_object(**at, Key=RAW),
        "delete version": lambda: s3.delete_object(**at, Key=MODEL, VersionId=objects[MODEL]),
        "delete versions at once": lambda: delete_version(s3, MODEL, objects[MODEL]),
        "stop versioning": lambda: s3.put_bucket_versioning(**at, VersioningConfiguration={"Status": "Suspended"}),
        "forget rules": lambda: s3.delete_bucket_lifecycle(**at),
        "open the bucket": lambda: s3.put_bucket_policy(**at, Policy=public),
        "remove the bucket": lambda: s3.delete_bucket(**at),
        "make a bucket": lambda: s3.create_bucket(Bucket="another"),
        "list users": lambda: admin.user_list(),
        "make a user": lambda: admin.user_add(access_key="intruder", secret_key=token_urlsafe()),
        "make a key": lambda: admin.add_service_account(access_key="intruder", secret_key=token_urlsafe(24)),
        "change own key": lambda: admin.user_add(access_key=keys[0], secret_key=token_urlsafe()),
        "take all rights": lambda: admin.policy_set(policy_name="consoleAdmin", user=keys[0]),
    }


def delete_version(s3, key, version):
    """The call for many objects, whose errors are in its answer."""
    objects = [{"Key": key, "VersionId": version}]
    answer = s3.delete_objects(Bucket=BUCKET, Delete={"Objects": objects})
    for error in answer.get("Errors", []):
        raise ClientError({"Error": error}, "DeleteObjects")


def is_refused(action):
    """Whether a call is refused as AccessDenied; any other error is the test's."""
    try:
        action()
    except ClientError as error:
        assert error.response["Error"]["Code"] == "AccessDenied"
        return True
    except MinioAdminException as error:
        assert '"Code":"AccessDenied"' in str(error)
        return True
    return False


@pytest.mark.parametrize("name", NAMES)
def test_each_user_may_do_its_own_work_and_nothing_else(minio, objects, name):
    actions = list_actions(minio, name, objects)
    assert set(actions) == set(MAY)
    assert {what for what, action in actions.items() if not is_refused(action)} == {
        what for what, users in MAY.items() if name in users
    }


def test_whoever_has_no_keys_may_nothing(minio, objects):
    for path in ("", f"{BUCKET}/", f"{BUCKET}/{RAW}", f"{BUCKET}/{MODEL}"):
        assert urllib3.request("GET", f"{minio.endpoint}/{path}", timeout=10).status == 403


def test_an_overwrite_with_a_stolen_key_can_be_undone(minio, objects):
    trainer, root = minio.connect(minio.keys["trainer"]), minio.connect(minio.root)
    key = "runs/1/models/m-2/artifacts/model.skops"
    good = trainer.put_object(Bucket=BUCKET, Key=key, Body=b"good")["VersionId"]
    trainer.put_object(Bucket=BUCKET, Key=key, Body=b"bad")
    root.copy_object(Bucket=BUCKET, Key=key, CopySource={"Bucket": BUCKET, "Key": key, "VersionId": good})
    assert trainer.get_object(Bucket=BUCKET, Key=key)["Body"].read() == b"good"


def test_what_was_deleted_can_be_undone(minio):
    root, gc = minio.connect(minio.root), minio.connect(minio.keys["gc"])
    version = root.put_object(Bucket=BUCKET, Key="runs/1/deleted", Body=b"1")["VersionId"]
    marker = gc.delete_object(Bucket=BUCKET, Key="runs/1/deleted")["VersionId"]
    root.delete_object(Bucket=BUCKET, Key="runs/1/deleted", VersionId=marker)
    assert root.get_object(Bucket=BUCKET, Key="runs/1/deleted")["VersionId"] == version


def test_two_that_prepare_at_once_both_succeed(minio):
    keys = {name: (f"once-{name}", token_urlsafe(24)) for name in NAMES}
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(minio.prepare, "at-once", users=keys) for _ in range(4)]:
            done.result()
    root = minio.connect(minio.root)
    assert root.get_bucket_versioning(Bucket="at-once")["Status"] == "Enabled"
    [rule] = root.get_bucket_lifecycle_configuration(Bucket="at-once")["Rules"]
    assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
    minio.prepare("at-once", root=None, users=keys)  # every one of them may do what it needs
    assert is_refused(lambda: minio.connect(keys["client"]).list_objects_v2(Bucket=BUCKET))


def test_a_changed_key_takes_the_place_of_the_old_one(minio):
    old, new = minio.keys["mlflow"], (minio.keys["mlflow"][0], token_urlsafe(24))
    minio.prepare(users={**minio.keys, "mlflow": new})
    minio.connect(new).list_objects_v2(Bucket=BUCKET, Prefix="runs/")
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        minio.connect(old).list_objects_v2(Bucket=BUCKET, Prefix="runs/")
    minio.keys["mlflow"] = new


def test_preparing_again_takes_back_what_was_granted_by_hand_and_leaves_what_is_others(minio):
    root, admin = minio.connect(minio.root), minio.administer(minio.root)
    theirs = ("somebody-else", token_urlsafe(24))
    admin.user_add(access_key=theirs[0], secret_key=theirs[1])
    admin.attach_policy(policies=["readonly"], user=theirs[0])
    admin.attach_policy(policies=["readwrite"], user=minio.keys["evaluator"][0])
    rule = {"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": "x/"}, "Expiration": {"Days": 1}}
    ours = root.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]
    root.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration={"Rules": [*ours, rule]})
    root.put_object(Bucket=BUCKET, Key=RAW, Body=b"1")
    minio.prepare()
    assert is_refused(lambda: minio.connect(minio.keys["evaluator"]).put_object(Bucket=BUCKET, Key=RAW, Body=b"2"))
    assert minio.connect(theirs).get_object(Bucket=BUCKET, Key=RAW)["Body"].read() == b"1"
    rules = root.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]
    assert sorted(rule["ID"] for rule in rules) == ["modelyard", "theirs"]


def test_a_bucket_of_somebody_elses_is_checked_and_needs_no_root(minio):
    minio.prepare()
    said = []
    minio.prepare(root=None, report=said.append)
    assert said == [f"the bucket {BUCKET} is there, and {', '.join(NAMES)} may do there what they need"]


def test_every_right_that_is_missing_in_somebody_elses_bucket_is_named(minio):
    admin = minio.administer(minio.root)
    admin.policy_set(policy_name="readonly", user=minio.keys["trainer"][0])
    admin.policy_set(policy_name="writeonly", user=minio.keys["client"][0])
    keys = {**minio.keys, "mlflow": (minio.keys["mlflow"][0], "not the right secret")}
    try:
        with pytest.raises(ServiceFailed) as refused:
            minio.prepare(root=None, users=keys)
    finally:
        minio.prepare()
    for part in (
        f"the bucket {BUCKET} at {minio.endpoint}",
        "trainer may not put runs/* (AccessDenied)",
        "client may not get raw/* (AccessDenied)",
        "the keys of mlflow are not right (SignatureDoesNotMatch)",
    ):
        assert part in str(refused.value)
    assert "evaluator" not in str(refused.value)
    refuse_secrets(minio, refused.value)


def test_somebody_elses_bucket_that_is_missing_is_named_and_not_made(minio):
    with pytest.raises(ServiceFailed, match=f"there is no bucket missing at {minio.endpoint}; make it, or name"):
        # to keys without any right there a bucket that is missing and one that is closed look alike
        minio.prepare("missing", root=None, users={"backup": minio.root})
    listed = minio.connect(minio.root).list_buckets()["Buckets"]
    assert "missing" not in {bucket["Name"] for bucket in listed}


def refuse_secrets(minio, error):
    """No secret is in an error, nor in what it came from."""
    while error is not None:
        assert not any(secret in repr(error) + str(error) for _, secret in [minio.root, *minio.keys.values()])
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def test_wrong_root_keys_are_named_without_being_told(minio):
    wrong = (minio.root[0], token_urlsafe(24))
    with pytest.raises(ServiceFailed, match="minio/root_password are not those that it was started with") as refused:
        minio.prepare(root=wrong)
    assert wrong[1] not in str(refused.value)


def test_an_access_key_that_minio_does_not_take_is_refused_in_its_words(minio):
    with pytest.raises(ServiceFailed, match=r"the user gc: .*access key length should be between 3 and 20"):
        minio.prepare(users={"gc": ("gc", token_urlsafe(24))})


def test_a_user_that_does_not_exist_is_refused(minio):
    with pytest.raises(UnknownName, match="did you mean 'trainer'"):
        minio.prepare(users={"trainr": minio.root})


def test_a_store_that_does_not_answer_is_waited_for_and_then_named():
    endpoint, began_s = f"http://127.0.0.1:{free_port()}", monotonic()
    keys = {"root": ("some-root", token_urlsafe(24)), "users": {}, "report": print}
    with pytest.raises(ServiceFailed, match=f"{endpoint} was not ready within 1 s"):
        prepare_object_store(endpoint=endpoint, bucket=BUCKET, wait_s=1, **keys)
    assert 1 <= monotonic() - began_s < 20
    with pytest.raises(InvalidSetting, match="'minio:9000' is no address"):
        prepare_object_store(endpoint="minio:9000", bucket=BUCKET, wait_s=1, **keys)
