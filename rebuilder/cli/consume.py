"""fedora-messaging's own command, as `rebuilder run` starts it: with our log format, and ending with its parent."""

from __future__ import annotations

import os

from rebuilder import config, config_file, logs
from rebuilder.cli.parent import end_with_parent


def main() -> None:
    """Consume with the callback that the arguments name. A `[log_config]` of the configuration goes before ours."""
    end_with_parent()
    from fedora_messaging import cli
    from fedora_messaging import config as theirs

    settings = config.load(config_file.configuration_file(None)).log
    theirs.DEFAULTS["log_config"] = logs.configuration(os.environ.get(logs.VARIABLE) or settings.level, settings.format)
    cli.cli()


if __name__ == "__main__":
    main()
