from __future__ import annotations

import configparser
from pathlib import Path
from typing import Any


class Configuration:
    """Keywords come before the file. A section or a keyword that does not exist is no error."""

    def __init__(
        self, conf_file: str = "/etc/osbs.conf", conf_section: str = "default_binary", cli_args: Any = None,
        **kwargs: Any,
    ) -> None:
        self.scp = configparser.ConfigParser()
        self.scp.read([conf_file])
        self._section, self._given = conf_section, kwargs

    def _get(self, key: str, default: Any = None) -> Any:
        if self._given.get(key) is not None:
            return self._given[key]
        return self.scp.get(self._section, key, fallback=default)

    def _flag(self, key: str, default: Any = None) -> Any:
        value = self._get(key, default)
        return value if value is None else str(value).lower() in ("true", "1")

    def get_openshift_base_uri(self) -> Any:
        return self._get("openshift_url")

    def get_openshift_oauth_api_uri(self) -> Any:
        return f"{self.get_openshift_base_uri().rstrip('/')}/oauth/authorize"

    def get_namespace(self) -> Any:
        return self._get("namespace", "default")

    def get_verify_ssl(self) -> Any:
        return self._flag("verify_ssl", True)

    def get_use_auth(self) -> Any:
        return self._flag("use_auth")

    def get_username(self) -> Any:
        return self._get("username")

    def get_password(self) -> Any:
        return self._get("password")

    def get_client_cert(self) -> Any:
        return self._get("client_cert")

    def get_client_key(self) -> Any:
        return self._get("client_key")

    def get_use_kerberos(self) -> Any:
        return self._flag("use_kerberos")

    def get_pipeline_run_path(self) -> Any:
        return self._get("pipeline_run_path")

    def get_reactor_config_map(self) -> Any:
        return self._get("reactor_config_map")

    def get_reactor_config_map_scratch(self) -> Any:
        return self._get("reactor_config_map_scratch")

    def get_scratch(self, default_value: Any) -> Any:
        return self._flag("scratch", default_value)

    def get_default_buildtime_limit(self) -> int:
        return int(self._get("default_buildtime_limit", 10800))

    def get_max_buildtime_limit(self) -> int:
        return int(self._get("max_buildtime_limit", 21600))

    def get_oauth2_token(self) -> Any:
        token, file = self._get("token"), self._get("token_file")
        return Path(file).read_text().strip() if token is None and file else token
