"""The `rebuilder` command: verbs only. What they ask for is done elsewhere."""

from __future__ import annotations

import gc
import os
import sys
from pkgutil import resolve_name

import click

from rebuilder.cli.context import Context
from rebuilder.cli.terminal import one_line
from rebuilder.domain.errors import InfrastructureError, RequestError, UnreachableError

DONE, NOT_WELL, WRONG, UNREACHABLE, INTERRUPTED = 0, 1, 2, 3, 130
COMPLETE = "_REBUILDER_COMPLETE"  # a shell has it set while it asks
YOUNG = 500_000  # objects between collections: a command loads very many, which stay until it ends
# Each verb, where it is, and what it does: what the help says, which need not load them all for that.
VERBS = {
    "approve": ("operators:approve", "Approve a wave that a rule of the policy holds back."),
    "cancel": ("operators:cancel", "Stop the rebuilds of an image or of a wave, also at the builder."),
    "completion": ("help:completion", "Print the script by which bash, zsh or fish completes what is typed."),
    "config": ("configuration:config", "Check the configuration."),
    "consume": ("consumer:consume", "Store messages from the bus."),
    "db": ("databases:db", "Upgrade the database, or prune it."),
    "debug": ("debug:debug", "Collect what a bug report needs: `debug dump`."),
    "demo": ("demo:demo", "Show the main job on this machine: an openssl update arrives on a bus."),
    "doctor": ("doctor:doctor", "What is wrong with an installation, and how to mend it."),
    "engine": ("daemons:engine", "Plan and drive the rebuilds."),
    "gate": ("delivery:gate", "Answer the gate that a new build waits for: pass or fail."),
    "graph": ("graphs:graph", "The images and what they are built on: a tree, a drawing, or JSON."),
    "help": ("help:help_", "What a verb does: the same as its --help."),
    "hold": ("operators:hold", "Do not build an image until it is released."),
    "images": ("pull_specs:images", "What to pull: the images of a stream by digest, for a deployment."),
    "inbox": ("inbox:inbox_", "The newest messages received, and what became of them."),
    "init": ("init:init", "Write a configuration, check it, and make the first builds."),
    "inventory": ("images:inventory", "The images, what they are built on, and what is in them."),
    "log": ("log:log", "The log of an image's last build, also while it runs."),
    "manual": ("help:manual", "Write the manual pages into a folder."),
    "notify": ("publisher:notify", "Publish what happens on the bus."),
    "pause": ("operators:pause", "Start no builds until `resume`."),
    "plan": ("plans:plan", "What an update would rebuild, in which order, and why."),
    "promote": ("delivery:promote", "Move names to new builds that wait to be promoted."),
    "rebuild": ("operators:rebuild", "Rebuild an image, whether an update asks for it or not."),
    "release": ("operators:release", "Release an image from hold, so that it is built again."),
    "replay": ("replay:replay", "Read messages from a file: one JSON object a line."),
    "resume": ("operators:resume", "Start builds again."),
    "retry": ("operators:retry", "Build again what failed or was canceled, and then what it blocked."),
    "rollback": ("rollback:rollback", "Roll an image back to an earlier build, and hold it."),
    "run": ("daemons:run", "Consumer, engine and web together."),
    "simulate": ("simulation:simulate", "How long an update's rebuilds would take, and the shortest possible time."),
    "status": ("status:status", "What is being rebuilt, what comes next, what failed."),
    "token": ("tokens:token", "Make, list and revoke tokens: who may change things over HTTP."),
    "update": ("update:update", "Announce an update, as a message from Bodhi would."),
    "version": ("help:version", "Show the version."),
    "wave": ("waves:wave", "One wave: its rebuilds, parents first, and why they are there."),
    "web": ("daemons:web", "Serve the status pages, the API and the metrics."),
    "why": ("why:why", "Why an image was rebuilt, or was not; with --update, whether that would rebuild it."),
}


class LazyGroup(click.Group):
    """Loads the verb that is asked for, and what it needs: to load them all takes longer than most of them do."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        place, summary = VERBS[cmd_name]
        verb: click.Command = resolve_name(f"{__name__}.{place}")
        verb.short_help = summary
        if COMPLETE in os.environ:
            from rebuilder.cli import completion

            completion.teach(verb)
        return verb

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in VERBS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(package_name="container-rebuilder", prog_name="rebuilder")
@click.option("--config", "config", type=click.Path(dir_okay=False), envvar="REBUILDER_CONFIG",
              help="fedora-messaging's configuration file; ours is in its [consumer_config].")
@click.option("-v", "--verbose", count=True,
              help="Log each step to standard error, and which configuration is used; -vv: libraries, too.")
@click.option("-q", "--quiet", is_flag=True, help="Log only warnings and errors.")
@click.pass_context
def rebuilder(context: click.Context, config: str | None, verbose: int, quiet: bool) -> None:
    """Ordered rebuilds of layered container images when an RPM in a lower layer is updated."""
    context.obj = Context(config, _logged(verbose, quiet), verbose=bool(verbose))


def _logged(verbose: int, quiet: bool) -> str:
    """What is to be logged; where somebody says so, it is logged from here on by any verb. Raises RequestError."""
    directives = os.environ.get("REBUILDER_LOG", "")
    if verbose or quiet:
        directives = "warning" if quiet else "debug" if verbose == 1 else "debug,*=debug"
    if directives:
        from rebuilder import logs

        try:
            logs.set_up(directives)
        except logs.InvalidDirective as error:
            raise RequestError(str(error)) from None
    return directives


def main(arguments: list[str] | None = None) -> None:
    """Run the command and exit: 0 done, 1 not well, 2 the request was wrong, 3 a service could not be reached."""
    gc.set_threshold(YOUNG)
    # Else pydantic reads the metadata of every installed package, to find plugins for models that need none.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    if COMPLETE in os.environ:
        from rebuilder.cli import completion

        completion.register()
    status = status_of(arguments)
    service = sys.modules.get("rebuilder.cli.setup")
    if service is not None and service.calls_abandoned:
        service.leave(status)
    gc.freeze()  # else Python looks through all that is loaded once more, before it lets go of it
    sys.exit(status)


def status_of(arguments: list[str] | None = None) -> int:
    """Run the command; every foreseen error is one line on standard error, and no verb at all is the help there."""
    try:
        result = rebuilder.main(arguments, "rebuilder", standalone_mode=False)
        return result if isinstance(result, int) else DONE
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as help_text:
        help_text.show()
        return WRONG
    except click.ClickException as error:
        return _say(error.format_message(), WRONG)
    except RequestError as error:
        return _say(str(error), WRONG)
    except (UnreachableError, InfrastructureError) as error:
        return _say(str(error), UNREACHABLE)
    except BrokenPipeError:
        sys.stderr.close()
        return DONE
    except Exception as error:
        if (trouble := _of_database(error)) is None:
            raise
        return _say(f"database: {trouble}", UNREACHABLE)


def _of_database(error: Exception) -> str | None:
    """What the database said, where it is the database's error."""
    from sqlalchemy.exc import DBAPIError

    from rebuilder.store.database import first_line

    return first_line(error) if isinstance(error, DBAPIError) else None


def _say(what: str, status: int) -> int:
    click.echo(f"rebuilder: {one_line(what)}", err=True)
    return status
