from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from osbs.exceptions import OsbsAuthException, OsbsException, OsbsResponseException
from osbs.osbs_http import Response, request

API = "apis/tekton.dev/v1beta1"
WATCHES, WATCH_PAUSE_SECONDS = 20, 0.05
JSON = {"Content-Type": "application/json", "Accept": "application/json"}


class Openshift:
    def __init__(
        self, openshift_api_url: str, openshift_oauth_url: str, username: Any = None, password: Any = None,
        verify_ssl: bool = True, use_auth: Any = None, token: Any = None, namespace: str = "default",
    ) -> None:
        self.url, self.oauth_url, self.namespace = openshift_api_url.rstrip("/"), openshift_oauth_url, namespace
        self.username, self.password, self.token, self.verify_ssl = username, password, token, verify_ssl
        self.use_auth = bool(token or (username and password)) if use_auth is None else use_auth
        self.retries_enabled = True

    def ask(self, method: str, path: str, headers: Any = None, **kwargs: Any) -> Response:
        headers = dict(headers or {})
        if self.use_auth:
            if self.token is None:
                self.token = self._fetched_token()
            if not self.token:
                raise OsbsAuthException("Please check your credentials. Token was not retrieved successfully.")
            headers["Authorization"] = f"Bearer {self.token}"
        return request(method, f"{self.url}/{path}", self.retries_enabled, headers=headers,
                       verify=self.verify_ssl, **kwargs)  # fmt: skip

    def build_url(self, api_path: str, api_version: str, url: str, **query: Any) -> str:
        path = f"{api_path}/{api_version}/namespaces/{self.namespace}/{url}"
        return f"{self.url}/{path}" + (f"?{urlencode(query)}" if query else "")

    def get(self, url: str, **kwargs: Any) -> Response:
        return self.ask("GET", url.removeprefix(f"{self.url}/"), **kwargs)

    def _fetched_token(self) -> str:
        query = "?response_type=token&client_id=openshift-challenging-client"
        answer = request("GET", self.oauth_url + query, auth=(self.username, self.password))
        fragment = urlsplit(answer.headers.get("location", "")).fragment
        return parse_qs(fragment).get("access_token", [""])[0]

    def watch(self, api: str, kind: str, name: str) -> Iterator[Any]:
        """After each event, the object as it is now; an empty one where the connection broke."""
        for _ in range(WATCHES):
            try:
                answer = self.ask("GET", f"{api}/watch/namespaces/{self.namespace}/{kind}/{name}/", stream=True)
                for _ in answer.iter_lines():
                    yield self.ask("GET", f"{api}/namespaces/{self.namespace}/{kind}/{name}").json()
            except OsbsResponseException:
                pass
            except OsbsException:
                yield {}
            time.sleep(WATCH_PAUSE_SECONDS)


def known(answer: Response) -> Any:
    """The document; None of what is not there."""
    try:
        return answer.json()
    except OsbsResponseException as error:
        if error.status_code == 404:
            return None
        raise


class Resource:
    kind = ""

    def __init__(self, os: Openshift, name: str) -> None:
        self.os, self.name = os, name

    @property
    def path(self) -> str:
        return f"{API}/namespaces/{self.os.namespace}/{self.kind}/{self.name}"

    def get_info(self) -> Any:
        return known(self.os.ask("GET", self.path))

    def wait_for_start(self) -> Any:
        for found in self.os.watch(API, self.kind, self.name):
            if not found and not self.get_info():
                return None
            condition = (found.get("status", {}).get("conditions") or [{}])[0]
            if condition.get("status") in ("True", "False") or condition.get("reason") == "Running":
                return found
        return None


class PipelineRun(Resource):
    kind = "pipelineruns"

    def __init__(self, os: Openshift, pipeline_run_name: str, pipeline_run_data: Any = None) -> None:
        super().__init__(os, pipeline_run_name)
        self.pipeline_run_name, self.input_data = pipeline_run_name, pipeline_run_data

    def start_pipeline_run(self) -> Any:
        if self.input_data["metadata"]["name"] != self.pipeline_run_name:
            raise OsbsException("Pipeline run name provided is different than in input data")
        path = f"{API}/namespaces/{self.os.namespace}/pipelineruns"
        return self.os.ask("POST", path, JSON, data=json.dumps(self.input_data)).json()

    def cancel_pipeline_run(self) -> Any:
        body = {"metadata": {"name": self.name}, "spec": {"status": "CancelledRunFinally"}}
        headers = {**JSON, "Content-Type": "application/merge-patch+json"}
        found = known(self.os.ask("PATCH", self.path, headers, data=json.dumps(body)))
        if not found:
            raise OsbsException(f"Pipeline run '{self.name}' can't be canceled, because it doesn't exist")
        return found

    def remove_pipeline_run(self) -> Any:
        return self.os.ask("DELETE", self.path, JSON).json()

    @property
    def condition(self) -> Any:
        found = self.get_info()
        return found["status"]["conditions"][0] if found else {}

    def has_succeeded(self) -> bool:
        return self.condition.get("reason") in ("Succeeded", "Completed")

    def has_not_finished(self) -> bool:
        condition = self.condition
        return condition.get("status") == "Unknown" and condition["reason"] != "PipelineRunCancelled"

    def was_cancelled(self) -> bool:
        return self.condition.get("reason") == "PipelineRunCancelled"

    def tasks(self) -> Iterator[tuple[str, Any]]:
        found = self.get_info()
        for child in found["status"].get("childReferences", ()) if found else ():
            document = TaskRun(self.os, child["name"]).get_info()
            yield document["metadata"]["labels"]["tekton.dev/pipelineTask"], document

    def get_task_results(self) -> Any:
        return {
            task: {result["name"]: result["value"] for result in document["status"]["taskResults"]}
            for task, document in self.tasks() if "taskResults" in document["status"]
        }  # fmt: skip

    @property
    def pipeline_results(self) -> Any:
        found = self.get_info()
        results = found["status"].get("pipelineResults", []) if found else []
        return {result["name"]: json.loads(result["value"]) for result in results}

    def get_error_message(self) -> str:
        found = self.get_info()
        if not found:
            return "pipeline run removed;"
        message = found["status"]["conditions"][0].get("message")
        told = "".join(
            f"Error in {task}: {document['status']['conditions'][0]['message']};\n"
            for task, document in self.tasks()
            if document["status"]["conditions"][0]["reason"] not in ("Succeeded", "None")
        )
        return told or (f"{message};" if message else "pipeline run failed;")

    def get_logs(self, follow: bool = False, wait: bool = False) -> Any:
        if follow or wait:
            return self._stream()
        return {task: TaskRun(self.os, document["metadata"]["name"]).get_logs() for task, document in self.tasks()}

    def _stream(self) -> Iterator[tuple[str, str]]:
        self.wait_for_start()
        begun: set[str] = set()
        for found in self.os.watch(API, self.kind, self.name):
            for task, document in list(self.tasks()):
                name = document["metadata"]["name"]
                if name not in begun:
                    begun.add(name)
                    yield from ((task, line) for line in TaskRun(self.os, name).stream())
            if not found or found["status"]["conditions"][0]["status"] in ("True", "False"):
                return


class TaskRun(Resource):
    kind = "taskruns"

    def __init__(self, os: Openshift, task_run_name: str) -> None:
        super().__init__(os, task_run_name)

    def _log(self, container: str, **query: Any) -> Response:
        status = self.get_info()["status"]
        path = f"api/v1/namespaces/{self.os.namespace}/pods/{status['podName']}/log"
        return self.os.ask("GET", f"{path}?{urlencode({'container': container, **query})}", stream=bool(query))

    def containers(self) -> list[str]:
        return [step["container"] for step in self.get_info()["status"]["steps"]]

    def get_logs(self) -> dict[str, str]:
        return {container: self._log(container).content.decode() for container in self.containers()}

    def stream(self) -> Iterator[str]:
        for container in self.containers():
            yield from (line.decode() for line in self._log(container, follow=True).iter_lines())
