"""A Kerberos realm of its own: a real KDC on a free port, with principals and their keytabs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rebuilder.demo.process import LOOPBACK, Child, free_port

REALM = "TESTS.EXAMPLE.COM"
PROGRAMS = ("/usr/sbin/krb5kdc", "/usr/sbin/kdb5_util", "/usr/sbin/kadmin.local")
CLIENT = """[libdefaults]
default_realm = {realm}
dns_lookup_kdc = false
dns_lookup_realm = false
dns_canonicalize_hostname = false
rdns = false
udp_preference_limit = 1
[realms]
{realm} = {{
  kdc = {host}:{port}
}}
[domain_realm]
localhost = {realm}
"""
SERVER = """[kdcdefaults]
kdc_listen = {host}:{port}
kdc_tcp_listen = {host}:{port}
[realms]
{realm} = {{
  database_name = {folder}/principal
  key_stash_file = {folder}/stash
  acl_file = {folder}/acl
}}
"""


class Realm:
    """`environment` is what its clients need to find it, and nothing else."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.environment = {
            "KRB5_CONFIG": str(folder / "krb5.conf"),
            "KRB5_KDC_PROFILE": str(folder / "kdc.conf"),
            "KRB5CCNAME": f"FILE:{folder}/tickets",
        }
        names = {"realm": REALM, "host": LOOPBACK, "port": free_port(), "folder": folder}
        (folder / "krb5.conf").write_text(CLIENT.format(**names))
        (folder / "kdc.conf").write_text(SERVER.format(**names))
        self._do("kdb5_util", "create", "-s", "-P", "master", "-r", REALM)

    def _do(self, program: str, *arguments: str) -> None:
        environment = {**os.environ, **self.environment}
        subprocess.run([f"/usr/sbin/{program}", *arguments], env=environment, check=True, capture_output=True)

    def keytab(self, principal: str) -> Path:
        """A new principal, and the file with its key."""
        path = self._folder / f"{principal.replace('/', '-')}.keytab"
        self._do("kadmin.local", "-q", f"addprinc -randkey {principal}")
        self._do("kadmin.local", "-q", f"ktadd -k {path} {principal}")
        return path

    @contextmanager
    def running(self) -> Iterator[None]:
        """While its KDC answers."""
        log = self._folder / "kdc.log"
        child = Child(["/usr/sbin/krb5kdc", "-n"], log, environment={**os.environ, **self.environment})
        try:
            child.wait_for(lambda: "starting" in log.read_text(), 30)
            yield
        finally:
            child.stop()
