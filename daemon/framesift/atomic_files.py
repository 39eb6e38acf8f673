"""Durable file operations: files that exist completely or not at all, also after a power cut, and safe file names.

Here is also decided who may read what the daemon writes: its own user alone (0600, folders 0700), or one group as well
(0640, 0750). As with the umask, this holds for the whole process, and it is set once, before anything is written.
"""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

# One name per folder, not one per file: the next write replaces what a crash left behind, so nothing accumulates.
_PARTIAL = ".partial"
_FILE_MODE, _FOLDER_MODE = 0o600, 0o700
_group_id: int | None = None


class GroupUnusable(Exception):
    """The group of the settings does not exist, or this process may not give files to it. str(error) says which."""


def share_with_group(group: str | int | None) -> None:
    """Lets a group (its name or number) read what this process creates from now on; None: nobody but its own user.

    What exists keeps its owner and mode. Raises GroupUnusable; what was set before then holds.
    """
    global _FILE_MODE, _FOLDER_MODE, _group_id  # as process-wide as the umask is
    _group_id = None if group is None else usable_group(group)
    _FILE_MODE, _FOLDER_MODE = (0o600, 0o700) if group is None else (0o640, 0o750)


def usable_group(group: str | int) -> int:
    """The number of a group to which this process may give files. Raises GroupUnusable."""
    try:
        number = int(group) if str(group).isdecimal() else grp.getgrnam(str(group)).gr_gid
    except KeyError:
        raise GroupUnusable(
            f"group: there is no group {group} on this machine; create it (groupadd {group}), or name another"
        ) from None
    # The kernel alone knows: it counts memberships, capabilities, user namespaces and filters of system calls.
    with os.fdopen(os.memfd_create("group"), "wb") as file:
        try:
            if os.fstat(file.fileno()).st_gid != number:
                os.fchown(file.fileno(), -1, number)
        except OSError as error:
            raise GroupUnusable(
                f"group: user {os.geteuid()} may not give files to the group {group} ({error.strerror}); add the user "
                f"to that group, or run with it (Group={group} in a systemd unit, --user or --group-add of a container)"
            ) from None
    return number


def create_file(path: str | Path, flags: int, *, folder: int | None = None, follow_link: bool = False) -> int:
    """Opens a file, and creates it if there is none, for this user and the group of `share_with_group`.

    An existing file keeps its owner and mode; with O_EXCL in `flags` it is an error. folder: descriptor of a folder, to
    which `path` is relative. follow_link: whether `path` may be a symbolic link. Returns the descriptor.
    Raises OSError.
    """
    flags |= os.O_CREAT | os.O_CLOEXEC | (0 if follow_link else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags | os.O_EXCL, 0o600, dir_fd=folder)
    except FileExistsError:
        if flags & os.O_EXCL:
            raise
        return os.open(path, flags, 0o600, dir_fd=folder)
    # The umask may take bits away, and a file system that keeps no modes (FAT) is used as it is. The setgid bit of a
    # folder would give a group as well, but the sandbox of a service forbids to set it.
    with contextlib.suppress(OSError):
        if _group_id not in (None, os.fstat(descriptor).st_gid):
            os.fchown(descriptor, -1, _group_id)
    with contextlib.suppress(OSError):
        if stat.S_IMODE(os.fstat(descriptor).st_mode) != _FILE_MODE:
            os.fchmod(descriptor, _FILE_MODE)
    return descriptor


def give_to_group(path: Path) -> None:
    """Gives a file or folder that was created by other means to the group of `share_with_group`.

    It is not opened: closing it again would take away the locks that SQLite has on it.
    """
    with contextlib.suppress(OSError):
        if _group_id not in (None, path.lstat().st_gid):
            os.chown(path, -1, _group_id, follow_symlinks=False)


def is_shared(path: Path) -> bool:
    """Whether a file that was just created has the owner and mode that it should: some file systems keep none."""
    found = path.stat()
    return stat.S_IMODE(found.st_mode) == _FILE_MODE and _group_id in (None, found.st_gid)


def write_atomically(path: Path, content: bytes, *, follow_folder_link: bool = True, for_person: bool = False) -> None:
    """Writes `content` to `path` and replaces an existing file. After the return, the file survives a power cut.

    A symbolic link at `path` is replaced, never followed. follow_folder_link: whether the folder may be a symbolic
    link. for_person: the file has the mode that the umask gives, as a person expects of a command, and is not the
    daemon's own. Only one thread may write to a folder at a time. Raises OSError; `path` is then unchanged.
    """
    if not follow_folder_link and path.parent.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path.parent))
    if path.is_dir():  # "." among them, which names no file
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    try:
        with synced_folder(path.parent, follow_link=follow_folder_link) as folder:
            # An existing partial file is from a crash or from another program: only a new file is surely our own.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(_PARTIAL, dir_fd=folder)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            partial = (
                os.open(_PARTIAL, flags, 0o666, dir_fd=folder)
                if for_person
                else create_file(_PARTIAL, flags, folder=folder)
            )
            try:
                with os.fdopen(partial, "wb") as file:
                    file.write(content)
                    sync_file(file)
            except BaseException:  # a full disk, say, which must not keep it
                with contextlib.suppress(OSError):
                    os.unlink(_PARTIAL, dir_fd=folder)
                raise
            os.replace(_PARTIAL, path.name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError as error:
        if error.filename == _PARTIAL:
            error.filename = str(path.with_name(_PARTIAL))
        elif error.filename is None:  # of a write
            error.filename = str(path)
        raise


@contextlib.contextmanager
def replace_file(path: Path, *, like: os.stat_result) -> Iterator[IO[bytes]]:
    """A new file that replaces `path` durably when the block ends without an error; the block has to sync it.

    like: whose owner and mode it gets, so that it stays a file of those who use the old one. Raises OSError.
    """
    with synced_folder(path.parent) as folder:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(_PARTIAL, dir_fd=folder)
        with os.fdopen(create_file(_PARTIAL, os.O_RDWR | os.O_EXCL, folder=folder), "wb", buffering=1 << 20) as file:
            with contextlib.suppress(OSError):
                os.fchown(file.fileno(), like.st_uid, like.st_gid)
            with contextlib.suppress(OSError):
                os.fchmod(file.fileno(), stat.S_IMODE(like.st_mode))
            try:
                yield file
            except BaseException:
                os.unlink(_PARTIAL, dir_fd=folder)
                raise
        os.replace(_PARTIAL, path.name, src_dir_fd=folder, dst_dir_fd=folder)


def sync_file(file: IO[bytes]) -> None:
    """Makes the content of an open file durable. Raises OSError."""
    file.flush()
    os.fsync(file.fileno())


@contextlib.contextmanager
def synced_folder(path: Path, *, follow_link: bool = True) -> Iterator[int]:
    """Opens a folder for changes of names, and makes them durable when the block ends without an error.

    Yields the folder's descriptor. The folder is opened first: if that fails, no name has changed yet. follow_link:
    whether the folder may be a symbolic link. Raises OSError.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (0 if follow_link else os.O_NOFOLLOW)
    folder = os.open(path, flags)
    try:
        yield folder
        try:
            os.fsync(folder)
        except OSError as error:
            if error.errno != errno.EINVAL:  # some network and FUSE filesystems do not support it
                raise
    finally:
        os.close(folder)


def sync_folder(path: Path) -> None:
    """Makes the names in a folder durable. Raises OSError."""
    with synced_folder(path):
        pass


def make_folder(path: Path) -> None:
    """Makes a folder and its missing parents, durably, for this user and the group of `share_with_group`.

    Raises OSError, also if `path` exists and is not a folder.
    """
    if path.is_dir():
        return
    if path.parent != path:
        make_folder(path.parent)
    with contextlib.suppress(FileExistsError):
        path.mkdir(_FOLDER_MODE)
        give_to_group(path)
        with contextlib.suppress(OSError):
            path.chmod(_FOLDER_MODE)  # whatever the umask is
    if not path.is_dir():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    sync_folder(path.parent)


def safe_name(text: str, *, extra: str = "", merge: bool = False) -> str:
    """The text as a part of a file name that every filesystem accepts.

    ASCII letters, digits, "-" and the characters of `extra` are kept; any other character becomes "-". merge: whether
    several such characters in a row become one "-". Different texts may get the same name.
    """
    return re.sub(rf"[^A-Za-z0-9{re.escape(extra)}-]" + ("+" if merge else ""), "-", text)
