"""Secrets of the Compose stack: made once, checked each time, never changed."""

import threading

import pytest

from modelyard.errors import SecretMissing
from modelyard.stack.addresses import read_secret
from modelyard.stack.secrets import find_people, list_secrets, provide_secrets, read_s3_credentials


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
    named = {str(secret.path(folder).relative_to(folder)) for secret in list_secrets("ana")}
    assert set(made) == named | {"cli/founders"}
    provide_secrets(folder, person="ana", report=said.append)
    assert read_all(folder) == made
    assert len(said) == 1
    assert not any(made[name].strip() in said[0] for name in named)


def test_no_two_secrets_are_alike(folder):
    provide_secrets(folder, person="ana", report=lambda _: None)
    values = [
        read_s3_credentials(secret.path(folder))[1] if secret.s3_user else read_secret(secret.path(folder))
        for secret in list_secrets("ana")
    ]
    assert len(set(values)) == len(values)
    assert min(map(len, values)) >= 12


def test_who_comes_second_gets_no_login_unasked(folder):
    provide_secrets(folder, person="ana", report=lambda _: None)
    before = read_all(folder)
    provide_secrets(folder, person="ben", report=lambda _: None)
    assert read_all(folder) == before
    assert find_people(folder) == ["ana"]


@pytest.mark.parametrize("release", ["this", "an earlier one"])
def test_a_password_that_was_removed_is_made_anew_for_who_had_it(folder, release):
    provide_secrets(folder, person="ana", report=lambda _: None)
    before = read_all(folder)
    if release == "an earlier one":  # it kept no list of its own; the next start makes one
        (folder / "cli/founders").unlink()
        provide_secrets(folder, person="ben", report=lambda text: pytest.fail(text))
    (folder / "cli/ana.password").unlink()
    provide_secrets(folder, person="ben", report=lambda _: None)
    after = read_all(folder)
    assert find_people(folder) == ["ana"]
    assert {name for name in before | after if before.get(name) != after.get(name)} == {"cli/ana.password"}


def test_two_at_once_agree(folder):
    both = [
        threading.Thread(target=provide_secrets, args=(folder,), kwargs={"person": person, "report": lambda _: None})
        for person in ("ana", "ben")
    ]
    for one in both:
        one.start()
    for one in both:
        one.join()
    provide_secrets(folder, person="ana", report=lambda text: pytest.fail(text))
    assert len(find_people(folder)) == len(list((folder / "cli").glob("*.password"))) == 1
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
