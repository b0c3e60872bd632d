"""Going through a folder tree: its folders, what their `rebuilder.toml` says, and the links that are not followed."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from msgspec import Struct, field

from rebuilder.domain.errors import RequestError
from rebuilder.inventory import tree_settings
from rebuilder.inventory.tree_settings import FILE, FolderSettings, RootSettings

OTHERS = re.compile(
    r"(?:containerfile|dockerfile)[._-](?!.*ignore$)[\w.-]+|[\w.-]+[._-](?:containerfile|dockerfile)", re.IGNORECASE
)
LARGEST = 1_000_000  # bytes of a Containerfile


class Folder(Struct, frozen=True):
    """A folder of the tree: `place` is its path there, "" for the root.

    `settings` are those that hold for it; where its own file is wrong, `fault` says why. `text` is that file's, and
    `others` has the files whose names are like those of build files.
    """

    path: Path
    place: str
    settings: FolderSettings
    text: str = ""
    fault: str = ""
    others: tuple[str, ...] = ()

    @property
    def short(self) -> str:
        """The folder's own name, as an image would have it."""
        return (self.path if self.place else self.path.resolve()).name.lower()

    @property
    def long(self) -> str:
        """All of its path in the tree in one name; "" for the root."""
        return self.place.replace("/", "-").lower()

    @property
    def real(self) -> str:
        """Where it really is, whatever links lead there."""
        return str(self.path.resolve())


class Walked(Struct, frozen=True):
    """The folders in the order of their paths, and the links to folders that were not followed, each with why.

    `nameless` are folders with names that are not UTF-8 text, which no database keeps: neither they nor what is below
    them is read.
    """

    root: RootSettings
    folders: tuple[Folder, ...]
    links: tuple[str, ...] = ()
    nameless: tuple[str, ...] = ()


def walk(tree: Path) -> Walked:
    """All folders that are not hidden and not ignored, each once.

    A link is followed where it leads to a folder of the tree that is not read otherwise. Raises RequestError where
    there is no tree, a folder cannot be read, or the root's `rebuilder.toml` is wrong.
    """
    if not tree.is_dir():
        raise RequestError(f"{tree}: not a folder")
    text = settings_text(tree, tree)
    root = tree_settings.read_root(tree, text) if text else RootSettings()
    walking = _Walk(tree, root, text, FolderSettings().over(root))
    walking.below(tree, "")
    return walking.done()


def settings_text(folder: Path, tree: Path) -> str:
    """The text of the folder's `rebuilder.toml`; "" where it has none. Raises RequestError where it cannot be read."""
    return text_of(folder / FILE, tree) if os.path.lexists(folder / FILE) else ""


class _Walk(Struct):
    tree: Path
    root: RootSettings
    root_text: str
    inherited: FolderSettings  # of a folder without a file of its own
    folders: list[Folder] = field(default_factory=list)
    seen: dict[str, str] = field(default_factory=dict)  # real paths, each with the place where it is read
    links: list[str] = field(default_factory=list)  # places
    nameless: list[str] = field(default_factory=list)  # places, as they can be shown
    ignoring: list[tuple[str, FolderSettings]] = field(default_factory=list)

    def below(self, start: Path, place: str) -> None:
        """Take in the folder, and what is below it, without following links."""
        for at, folders, files in os.walk(start, onerror=_unreadable):
            here = "/".join(filter(None, (place, *Path(at).relative_to(start).parts)))
            self.seen[os.path.realpath(at)] = here
            self._take(Path(at), here, files)
            places = {name: "/".join(filter(None, (here, name))) for name in folders if not name.startswith(".")}
            names = sorted(name for name in places if self._is_read(places[name]))
            folders[:] = [name for name in names if not (Path(at) / name).is_symlink()]
            self.links += [places[name] for name in names if name not in folders]

    def _is_read(self, place: str) -> bool:
        return self._is_named(place) and not self._ignored(place)

    def _is_named(self, place: str) -> bool:
        if not (named := place == _shown(place)):
            self.nameless.append(_shown(place))
        return named

    def _take(self, path: Path, place: str, files: list[str]) -> None:
        settings, text, fault = self.inherited, "", ""
        if not place:
            settings, text = self.root, self.root_text
        elif FILE in files:
            try:
                text = settings_text(path, self.tree)
                settings = tree_settings.read(path, text).over(self.root)
            except RequestError as error:
                fault = str(error)
        if settings.ignore and (not place or text):
            self.ignoring.append((place, settings))
        others = tuple(sorted(filter(OTHERS.fullmatch, files)))
        self.folders.append(Folder(path, place, settings, text, fault, others))

    def _ignored(self, place: str) -> bool:
        return any(
            settings.ignores(place[len(above) :].lstrip("/"))
            for above, settings in self.ignoring
            if not above or place.startswith(f"{above}/")
        )

    def done(self) -> Walked:
        """Follow the links that lead to something new, and those behind them."""
        root, unfollowed = os.path.realpath(self.tree), []
        while self.links:
            place = self.links.pop(0)
            real = os.path.realpath(self.tree / place)
            if real != root and not real.startswith(f"{root}/"):
                unfollowed.append(f"{place} leads out of the tree")
            elif real != _shown(real):
                unfollowed.append(f"{place} leads to a name that is not UTF-8 text")
            elif real in self.seen:
                unfollowed.append(f"{place} leads to {self.seen[real] or 'the root'}, which is read already")
            else:
                self.below(self.tree / place, place)
        return Walked(self.root, tuple(sorted(self.folders, key=lambda folder: folder.path)),
                      tuple(unfollowed), tuple(self.nameless))


def _shown(path: str) -> str:
    """The path as text; a byte that is no UTF-8 shows as `\\xff`."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _unreadable(error: OSError) -> None:
    raise RequestError(f"{error.filename}: {error.strerror}")


def text_of(file: Path, tree: Path) -> str:
    """The text of a file of the tree; bytes that are no UTF-8 become U+FFFD. Raises RequestError.

    What is not a plain file (a FIFO would be waited for, a device has no end), and what a link leads to out of the
    tree, is not read, and nothing of it is told: whoever may write into the tree may not read everything that we may.
    """
    try:
        real = file.resolve(strict=True)
        if not real.is_relative_to(tree.resolve(strict=True)):
            raise RequestError(f"{file}: a link that leads out of {tree}")
        opened = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(opened, "rb") as stream:
            if not stat.S_ISREG(os.fstat(opened).st_mode):
                raise RequestError(f"{file}: not a plain file")
            content = stream.read(LARGEST + 1)
    except RuntimeError:  # Python 3.11 and 3.12 say so of links that lead to each other
        raise RequestError(f"{file}: a link that leads to itself") from None
    except OSError as error:
        raise RequestError(f"{file}: {error.strerror or error}") from None
    if len(content) > LARGEST:
        raise RequestError(f"{file}: larger than {LARGEST} bytes")
    if b"\0" in content:  # as UTF-16 has, which nothing else reads either
        raise RequestError(f"{file}: not UTF-8 text")
    return content.decode("utf-8-sig", errors="replace")
