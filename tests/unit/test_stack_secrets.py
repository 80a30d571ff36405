"""Secrets of the Compose stack: made once, checked each time, never changed."""

import threading

import pytest

from modelyard.errors import SecretMissing
from modelyard.stack.addresses import read_secret
from modelyard.stack.secrets import list_secrets, provide_secrets, read_s3_credentials


@pytest.fixture
def folder(tmp_path):
    for service in {secret.service for secret in list_secrets("ana")}:
        (tmp_path / service).mkdir()
    return tmp_path


def read_all(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_every_service_gets_its_own_and_a_second_call_changes_nothing(folder):
    said = []
    provide_secrets(folder, person="ana", report=said.append)
    made = read_all(folder)
    assert set(made) == {str(secret.path(folder).relative_to(folder)) for secret in list_secrets("ana")}
    provide_secrets(folder, person="ana", report=said.append)
    assert read_all(folder) == made
    assert len(said) == 1
    assert not any(text.strip() in said[0] for text in made.values())


def test_no_two_secrets_are_alike(folder):
    provide_secrets(folder, person="ana", report=lambda _: None)
    values = [
        read_s3_credentials(secret.path(folder))[1] if secret.s3_user else read_secret(secret.path(folder))
        for secret in list_secrets("ana")
    ]
    assert len(set(values)) == len(values)
    assert min(map(len, values)) >= 12


def test_another_person_gets_a_login_and_nobody_elses_changes(folder):
    provide_secrets(folder, person="ana", report=lambda _: None)
    before = read_all(folder)
    provide_secrets(folder, person="ben", report=lambda _: None)
    after = read_all(folder)
    assert {name for name in after if name not in before} == {"cli/ben.password"}
    assert before.items() <= after.items()


def test_two_at_once_agree(folder):
    both = [
        threading.Thread(target=provide_secrets, args=(folder,), kwargs={"person": "ana", "report": lambda _: None})
        for _ in range(2)
    ]
    for one in both:
        one.start()
    for one in both:
        one.join()
    provide_secrets(folder, person="ana", report=lambda text: pytest.fail(text))
    assert not list(folder.rglob(".*"))


@pytest.mark.parametrize("text", ["", "\n", "short\n", "two words that are long enough\n", "über-secret-password\n"])
@pytest.mark.parametrize("name", ["trainer/trainer.password", "trainer/s3_credentials", "minio/root_password"])
def test_a_damaged_secret_is_refused_by_name_with_the_way_out_and_nothing_is_made(folder, name, text):
    path = folder / name
    path.write_text(text)
    with pytest.raises(SecretMissing) as refused:
        provide_secrets(folder, person="ana", report=lambda _: None)
    assert str(path) in str(refused.value)
    assert f"rm secrets -f {path}" in str(refused.value)
    assert text.strip() == "" or text.strip() not in str(refused.value)
    assert set(read_all(folder)) == {name}
