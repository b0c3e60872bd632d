"""Images as a distribution has them: names, what each is built on, and the usual seconds of its build."""

from __future__ import annotations

from typing import Any

STREAM = "f42"
SSL = {"nevra": "openssl-libs-1:3.2.4-3.fc42.x86_64", "source": "openssl"}
RPMS = ["glibc-2.41-5.fc42.x86_64", "bash-5.2.37-1.fc42.x86_64", "ca-certificates-2025.2.80-1.0.fc42.noarch", SSL]
IMAGES: dict[str, tuple[tuple[str, ...], int]] = {
    "fedora": ((), 180),
    "fedora-minimal": ((), 120),
    "init": (("fedora",), 150),
    "s2i-core": (("fedora",), 140),
    "toolbox": (("fedora",), 260),
    "httpd": (("s2i-core",), 210),
    "nginx": (("s2i-core",), 190),
    "s2i-base": (("s2i-core",), 320),
    "postgresql": (("s2i-core",), 280),
    "mariadb": (("s2i-core",), 300),
    "valkey": (("fedora-minimal",), 90),
    "memcached": (("fedora-minimal",), 80),
    "haproxy": (("fedora-minimal",), 110),
    "python": (("s2i-base",), 270),
    "nodejs": (("s2i-base",), 310),
    "ruby": (("s2i-base",), 260),
    "php": (("s2i-base", "httpd"), 290),
    "cockpit-ws": (("init",), 170),
    "freeipa-server": (("init",), 420),
    "fedora-messaging": (("python",), 130),
    "bodhi": (("python",), 240),
    "koji-hub": (("httpd",), 200),
    "waiverdb": (("python",), 150),
    "nextcloud": (("php",), 260),
    "wordpress": (("php",), 180),
    "mediawiki": (("php",), 220),
    "grafana": (("nodejs",), 340),
    "etherpad": (("nodejs",), 210),
    "discourse": (("ruby",), 380),
    "registry-proxy": (("nginx",), 100),
}


def document(speed: float = 1) -> dict[str, Any]:
    """The images as an inventory document, their builds so much faster than usual."""
    return {
        "version": 1,
        "streams": {STREAM: {"dist": ".fc42"}},
        "images": [
            {
                "name": name, "stream": STREAM, "duration": seconds / speed, "rpms": RPMS,
                "parents": [{"image": f"{parent}:{STREAM}", "kind": "stage" if at else "base"}
                            for at, parent in enumerate(parents)],
                "source": {"git": f"https://src.fedoraproject.org/containers/{name}.git", "ref": STREAM},
            }
            for name, (parents, seconds) in IMAGES.items()
        ],
    }  # fmt: skip
