"""Which names and addresses answer, from where, and which are refused."""

import http.client
import json

import pytest

from tests.stack.project import docker, name_image

REACH = """
import socket, sys
from concurrent.futures import ThreadPoolExecutor

def reach(address):
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
    except OSError:
        return "closed"
    return "open"

for address, state in zip(sys.argv[1:], ThreadPoolExecutor(16).map(reach, sys.argv[1:])):
    print(address, state)
"""


def reach(project, service, *addresses):
    """Which of these addresses, ``host:port``, a process in the container of a service can connect to."""
    told = project.execute(service, "python", "-c", REACH, *addresses).checked().stdout
    return {address for address, state in map(str.split, told.splitlines()) if state == "open"}


def list_addresses(container):
    """The addresses of a container by the end of its network's name."""
    networks = container["NetworkSettings"]["Networks"]
    return {name.rpartition("_")[2]: network["IPAddress"] for name, network in networks.items()}


def ask(project, *, host, origin=None, method="POST", path="/api/2.0/mlflow/experiments/search"):
    """MLflow's answer to a request that names this host, as a page in a browser could make it send."""
    connection = http.client.HTTPConnection("127.0.0.1", int(project.environment["MODELYARD_MLFLOW_PORT"]), timeout=10)
    headers = {"Host": host, "Content-Type": "application/json"} | ({"Origin": origin} if origin else {})
    connection.request(method, path, body=json.dumps({"max_results": 1}), headers=headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


def test_the_names_answer_inside(project):
    wanted = {"mlflow.internal:5000", "minio.internal:9000", "postgres:5432"}
    for service in ("trainer", "evaluator", "mlflow"):
        assert reach(project, service, *wanted) == wanted, service


def test_mlflow_answers_to_its_own_names_only(project):
    port = project.environment["MODELYARD_MLFLOW_PORT"]
    for host in (f"localhost:{port}", f"127.0.0.1:{port}", "mlflow.internal:5000"):
        assert ask(project, host=host).status == 200, host
    for host in ("evil.example", f"evil.example:{port}", f"0.0.0.0:{port}", "localhost.evil.example"):
        assert ask(project, host=host).status == 403, host


def test_a_page_from_elsewhere_can_change_nothing(project):
    port = project.environment["MODELYARD_MLFLOW_PORT"]
    # MLflow always trusts other pages of this very machine
    for origin in ("http://evil.example", "https://localhost.evil.example", "null"):
        answer = ask(project, host=f"localhost:{port}", origin=origin)
        assert answer.status == 403, origin
        assert answer.getheader("Access-Control-Allow-Origin") in (None, f"http://localhost:{port}")
    assert ask(project, host=f"localhost:{port}", origin=f"http://localhost:{port}").status == 200


def test_nothing_is_published_but_on_this_machine_and_the_database_not_at_all(project):
    published = {}
    for name, container in project.inspect().items():
        for bindings in container["NetworkSettings"]["Ports"].values():
            for binding in bindings or []:
                published.setdefault(name, set()).add((binding["HostIp"], binding["HostPort"]))
    del published["door-1"]  # the tests' own
    port = project.environment
    assert published == {
        "mlflow-1": {("127.0.0.1", port["MODELYARD_MLFLOW_PORT"])},
        "minio-1": {("127.0.0.1", port["MODELYARD_S3_PORT"]), ("127.0.0.1", port["MODELYARD_CONSOLE_PORT"])},
    }


def test_trainer_and_evaluator_have_no_way_out(project):
    containers = project.inspect()
    outside = f"{list_addresses(containers['door-1'])['edge']}:5432"
    assert reach(project, "mlflow", outside) == {outside}, "it is there to be reached"
    for service in ("trainer", "evaluator"):
        assert set(list_addresses(containers[f"{service}-1"])) == {"backend"}
        assert reach(project, service, outside, "192.0.2.1:443", "1.1.1.1:443") == set()
        routes = project.execute(service, "cat", "/proc/net/route").checked().stdout.splitlines()[1:]
        assert [route for route in routes if route.split()[1] == "00000000"] == [], "a default route"


def test_from_another_network_nothing_answers(project):
    containers = project.inspect()
    targets = [
        f"{address}:{port}"
        for service, port in (("mlflow", 5000), ("minio", 9000), ("minio", 9001), ("postgres", 5432))
        for address in list_addresses(containers[f"{service}-1"]).values()
    ]
    words = ["run", "--rm", "--network", "bridge", "--entrypoint", "python", name_image("cli"), "-c", REACH]
    told = docker(*words, *targets).splitlines()
    assert told == [f"{target} closed" for target in targets]
    assert len(targets) == 7, "three services on two networks, one of them with two ports, and PostgreSQL"


@pytest.mark.parametrize("service", ["postgres", "trainer", "evaluator"])
def test_a_service_that_needs_no_way_out_has_none(project, service):
    [container] = project.inspect(service).values()
    assert set(list_addresses(container)) == {"backend"}
