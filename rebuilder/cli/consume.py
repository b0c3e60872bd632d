"""fedora-messaging's own command, with our log format; with `--beside` it ends with what started it."""

from __future__ import annotations

import os
import sys

from rebuilder import config, config_file, logs
from rebuilder.cli.parent_death import end_with_parent

BESIDE = "--beside"


def main() -> None:
    """Consume with the callback that the arguments name. A `[log_config]` of the configuration goes before ours."""
    arguments = [word for word in sys.argv[1:] if word != BESIDE]
    if BESIDE in sys.argv:
        end_with_parent()
    from fedora_messaging import cli
    from fedora_messaging import config as theirs
    from fedora_messaging.exceptions import ConfigurationException

    settings = config.load(config_file.configuration_file(None)).log
    theirs.DEFAULTS["log_config"] = logs.configuration(os.environ.get(logs.VARIABLE) or settings.level, settings.format)
    try:
        theirs.conf.load_config()
        theirs.conf.update(config_file.with_credentials(dict(theirs.conf)))
    except ConfigurationException:
        theirs.conf.loaded = False  # its own command reads it again, and says what is wrong
    cli.cli(arguments)


if __name__ == "__main__":
    main()
