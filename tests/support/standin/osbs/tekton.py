from __future__ import annotations

import json
import logging
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from osbs.exceptions import OsbsAuthException, OsbsException, OsbsResponseException
from osbs.osbs_http import Response, request

API = "apis/tekton.dev/v1beta1"
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

    def patch(self, url: str, **kwargs: Any) -> Response:
        return self.ask("PATCH", url.removeprefix(f"{self.url}/"), **kwargs)

    def _fetched_token(self) -> str:
        query = "?response_type=token&client_id=openshift-challenging-client"
        answer = request("GET", self.oauth_url + query, auth=(self.username, self.password))
        fragment = urlsplit(answer.headers.get("location", "")).fragment
        return parse_qs(fragment).get("access_token", [""])[0]


def check_response(response: Response, log_level: int = logging.INFO) -> None:
    if response.status_code not in (200, 201):
        logging.getLogger(__name__).log(log_level, "[%d] %s", response.status_code, response.content)
        raise OsbsResponseException(response.content, response.status_code)


def known(answer: Response) -> Any:
    """The document; None of what is not there."""
    try:
        return answer.json()
    except OsbsResponseException as error:
        if error.status_code == 404:
            return None
        raise


class PipelineRun:
    def __init__(self, os: Openshift, pipeline_run_name: str, pipeline_run_data: Any = None) -> None:
        self.os, self.pipeline_run_name, self.input_data = os, pipeline_run_name, pipeline_run_data

    @property
    def path(self) -> str:
        return f"{API}/namespaces/{self.os.namespace}/pipelineruns/{self.pipeline_run_name}"

    def get_info(self) -> Any:
        return known(self.os.ask("GET", self.path))

    def start_pipeline_run(self) -> Any:
        if self.input_data["metadata"]["name"] != self.pipeline_run_name:
            raise OsbsException("Pipeline run name provided is different than in input data")
        path = f"{API}/namespaces/{self.os.namespace}/pipelineruns"
        return self.os.ask("POST", path, JSON, data=json.dumps(self.input_data)).json()

    def cancel_pipeline_run(self) -> Any:
        body = {"metadata": {"name": self.pipeline_run_name}, "spec": {"status": "CancelledRunFinally"}}
        headers = {**JSON, "Content-Type": "application/merge-patch+json"}
        found = known(self.os.ask("PATCH", self.path, headers, data=json.dumps(body)))
        if not found:
            raise OsbsException(f"Pipeline run '{self.pipeline_run_name}' can't be canceled, because it doesn't exist")
        return found

    def remove_pipeline_run(self) -> Any:
        return self.os.ask("DELETE", self.path, JSON).json()
