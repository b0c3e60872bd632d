"""The cluster that the tests make is one: Tekton's API as it was seen to answer, asked with plain HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from support.tekton import TASK, Cluster, Fault
from support.tekton_api import TEKTON

RUN = {"metadata": {"name": "run-1"}, "spec": {}}
AUTH = {"Authorization": "Bearer token-1"}


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    made = Cluster()
    yield made
    made.down()


def ask(cluster: Cluster, method: str, path: str, headers: Any = AUTH, **kwargs: Any) -> requests.Response:
    url = f"{cluster.url.rstrip('/')}{path}"
    return requests.request(method, url, headers=headers, timeout=10, allow_redirects=False, **kwargs)


def runs(cluster: Cluster, name: str = "") -> str:
    return f"{TEKTON}/namespaces/{cluster.namespace}/pipelineruns{'/' if name else ''}{name}"


def test_a_run_is_made_once_and_has_no_status_until_it_begins(cluster: Cluster) -> None:
    assert ask(cluster, "POST", runs(cluster), json=RUN).status_code == 201
    again = ask(cluster, "POST", runs(cluster), json=RUN)
    assert (again.status_code, again.json()["message"]) == (409, 'pipelineruns.tekton.dev "run-1" already exists')
    assert "status" not in ask(cluster, "GET", runs(cluster, "run-1")).json()
    assert ask(cluster, "GET", runs(cluster, "run-2")).status_code == 404


@pytest.mark.parametrize("name", ["UPPER", "a" * 64, "-begins", "under_score"])
def test_a_name_that_kubernetes_does_not_take_is_refused(cluster: Cluster, name: str) -> None:
    assert ask(cluster, "POST", runs(cluster), json={"metadata": {"name": name}}).status_code == 422


def test_without_a_good_token_nothing_is_answered_and_a_password_gets_one(cluster: Cluster) -> None:
    for headers in ({}, {"Authorization": "Bearer old"}):
        assert ask(cluster, "GET", runs(cluster, "run-1"), headers).status_code == 401
    assert ask(cluster, "GET", "/oauth/authorize", {}).status_code == 401
    answer = ask(cluster, "GET", "/oauth/authorize?response_type=token", {}, auth=("me", "secret"))
    assert answer.status_code == 302
    assert "access_token=token-1" in urlsplit(answer.headers["Location"]).fragment


def test_a_canceled_run_stops_its_tasks_and_a_deleted_one_is_gone(cluster: Cluster) -> None:
    ask(cluster, "POST", runs(cluster), json=RUN)
    patch = {"spec": {"status": "CancelledRunFinally"}}
    status = ask(cluster, "PATCH", runs(cluster, "run-1"), json=patch).json()["status"]
    assert status["conditions"][0]["reason"] == "PipelineRunCancelled"
    (child,) = status["childReferences"]
    task = ask(cluster, "GET", f"{TEKTON}/namespaces/{cluster.namespace}/taskruns/{child['name']}").json()
    assert task["status"]["conditions"][0]["reason"] == "TaskRunCancelled"
    ask(cluster, "DELETE", runs(cluster, "run-1"))
    assert ask(cluster, "GET", runs(cluster, "run-1")).status_code == 404


def test_a_log_is_followed_until_its_task_ends(cluster: Cluster) -> None:
    ask(cluster, "POST", runs(cluster), json=RUN)
    cluster.say("run-1", "one")
    pod = f"/api/v1/namespaces/{cluster.namespace}/pods/run-1-{TASK}-pod"
    assert ask(cluster, "GET", f"{pod}/log?container=step-{TASK}").text == "one\n"
    seen = []
    for line in ask(cluster, "GET", f"{pod}/log?follow=true", stream=True).iter_lines():
        seen.append(line.decode())
        if seen == ["one"]:
            cluster.say("run-1", "two")
            cluster.succeed("run-1", {})
    assert seen == ["one", "two"]


def test_a_fault_may_come_after_the_deed(cluster: Cluster) -> None:
    cluster.faults += [Fault("POST", "pipelineruns$", 500), Fault("POST", "pipelineruns$", 500, after=True)]
    assert ask(cluster, "POST", runs(cluster), json=RUN).status_code == 500
    assert cluster.created == []
    assert ask(cluster, "POST", runs(cluster), json=RUN).status_code == 500
    assert cluster.created == ["run-1"]
    assert ask(cluster, "POST", runs(cluster), json=RUN).status_code == 409


def test_a_cluster_that_is_away_refuses_connections_and_comes_back_as_it_was(cluster: Cluster) -> None:
    ask(cluster, "POST", runs(cluster), json=RUN)
    with cluster.away(), pytest.raises(requests.ConnectionError):
        ask(cluster, "GET", runs(cluster, "run-1"))
    assert ask(cluster, "GET", runs(cluster, "run-1")).status_code == 200
