# SPDX-License-Identifier: Apache-2.0
"""A Python that has loaded esptool, espefuse and this package, and runs programs in copies of itself.

Each program runs in a new process (a fork) with the command line, folder, environment, file descriptors, umask and
ignored signals of the stand-in that asked for it (see `stand_in_python`): the same code as in a new Python, only what
it imports is there already. If the one who asked is gone, so is the program.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import gc
import importlib
import io
import marshal
import os
import pkgutil
import runpy
import select
import signal
import socket
import sys
import tempfile
import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO, cast

import yaml

_LOADED = (
    *("esptool", "esptool.targets", "espefuse", "espsecure", "secure_ext.cli.commands", "secure_ext.station"),
    *("secure_ext.prove.virtual_chip", "secure_ext.prove.boot_check", "secure_ext.doctor", "secure_ext.bundle"),
)
"""With all the modules in them."""
_HIGH = 512
"""Where received file descriptors wait until the lower numbers are free."""
_MOST_FILES = 16


def _load() -> None:
    """Imports what the programs import, as far as this version of esptool has it."""
    for name in _LOADED:
        with contextlib.suppress(ImportError):
            package = importlib.import_module(name)
            for module in pkgutil.iter_modules(package.__path__, name + "."):
                if not module.name.endswith("__main__"):
                    importlib.import_module(module.name)


@dataclass(frozen=True)
class Job:
    """What a stand-in asks for: a command line, and what else a process gets from the one that starts it."""

    executable: str
    words: list[str]
    folder: str
    environment: dict[bytes, bytes]
    umask: int
    ignored: list[int]
    leads: bool
    numbers: list[int]


def _receive(connection: socket.socket) -> tuple[Job, list[int]]:
    """A job, and the descriptors of this process that are to get its `numbers`."""
    files = array.array("i")
    size, ancillary, _, _ = connection.recvmsg(4, socket.CMSG_SPACE(_MOST_FILES * files.itemsize))
    for _, _, rights in ancillary:
        files.frombytes(rights)
    request = bytearray()
    while len(request) < int.from_bytes(size, "big"):
        request += connection.recv(0x10000)
    return Job(*marshal.loads(bytes(request))), files.tolist()  # noqa: S302 (from the tests' own stand-in)


def _become(job: Job, files: list[int]) -> None:
    """Makes this process what a new one of the stand-in would be."""
    waiting = [fcntl.fcntl(file, fcntl.F_DUPFD, _HIGH) for file in files]
    os.closerange(3, _HIGH)
    for number, file in zip(job.numbers, waiting, strict=True):
        os.dup2(file, number)
        os.close(file)
    os.chdir(job.folder)
    os.umask(job.umask)
    for number in job.ignored:
        signal.signal(number, signal.SIG_IGN)
    if job.leads:
        os.setsid()
    os.environ.clear()
    os.environb.update(job.environment)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = _like(getattr(sys, name), number, "wb" if number else "rb")
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    tempfile.tempdir = None
    sys.executable = job.executable
    sys.orig_argv = [job.executable, *job.words]


def _like(stream: TextIO, number: int, mode: str) -> TextIO:
    """A stream as another, which knows only of its own file whether it can be sought, and so on."""
    like = cast(io.TextIOWrapper, stream)
    buffering = 0 if isinstance(like.buffer, io.RawIOBase) else -1
    return io.TextIOWrapper(
        cast(io.BufferedWriter, open(number, mode, buffering, closefd=False)),
        like.encoding,
        like.errors,
        newline=None if mode == "rb" else "\n",
        line_buffering=like.line_buffering,
        write_through=like.write_through,
    )


def _run(words: list[str]) -> None:
    """Runs a command line of Python: a module, code or a file."""
    is_safe = bool(os.environ.get("PYTHONSAFEPATH"))
    if hasattr(yaml, "CSafeLoader") and words[:2] != ["-m", "secure_ext"]:
        # PyYAML's fast one: espefuse reads the tables of its chip at every start
        yaml.SafeLoader = yaml.CSafeLoader  # type: ignore[misc, assignment]
    if words[0] == "-m":
        sys.argv = ["-m", *words[2:]]
        sys.path[:0] = [] if is_safe else [str(Path.cwd())]
        runpy._run_module_as_main(words[1])  # type: ignore[attr-defined]  # what `python -m` calls
        return
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    if words[0] == "-c":
        sys.argv = ["-c", *words[2:]]
        sys.path[:0] = [] if is_safe else [""]
        source, name = words[1], "<string>"
    else:
        sys.argv = words
        sys.path[:0] = [] if is_safe else [str(Path(words[0]).resolve().parent)]
        name = words[0]
        source = Path(name).read_text(encoding="utf-8")
        main.__file__ = name
    exec(compile(source, name, "exec"), main.__dict__)  # noqa: S102 (as Python does it)


@dataclass
class _Running:
    connection: socket.socket
    pid: int
    end: int
    """A descriptor that is readable when the process has ended."""


@dataclass
class _Server:
    listener: socket.socket
    lifetime: int
    """The server ends with the process that holds the other end of this pipe."""
    running: dict[int, _Running] = field(default_factory=dict)

    def serve(self) -> tuple[Job, list[int]] | None:
        """Comes back with a job in the new process that is to do it, and with None when there are no more."""
        poll = select.poll()
        poll.register(self.lifetime, select.POLLIN)
        poll.register(self.listener, select.POLLIN)
        while True:
            for file, _ in poll.poll():
                if file == self.lifetime:
                    return None
                if file != self.listener.fileno():
                    self._end(file, poll)
                    continue
                connection, _ = self.listener.accept()
                with contextlib.suppress(OSError):
                    job, files = _receive(connection)
                    pid = os.fork()
                    if pid == 0:
                        connection.detach()
                        self._forget()
                        return job, files
                    for received in files:
                        os.close(received)
                    self._watch(_Running(connection, pid, os.pidfd_open(pid)), poll)

    def _watch(self, running: _Running, poll: select.poll) -> None:
        for file in (running.connection.fileno(), running.end):
            self.running[file] = running
            poll.register(file, select.POLLIN)

    def _end(self, file: int, poll: select.poll) -> None:
        """A program has ended, or the one who asked for it, with which it ends."""
        running = self.running.get(file)
        if running is None:
            return
        if file != running.end:
            os.kill(running.pid, signal.SIGKILL)
        _, status = os.waitpid(running.pid, 0)
        with contextlib.suppress(OSError):
            running.connection.sendall(status.to_bytes(4, "big"))
        for watched in (running.connection.fileno(), running.end):
            poll.unregister(watched)
            del self.running[watched]
        running.connection.close()
        os.close(running.end)

    def _forget(self) -> None:
        """In a new process, which closes all descriptors: none is to be closed again when its owner is collected."""
        for running in self.running.values():
            running.connection.detach()
        self.listener.detach()


def main() -> None:
    """``python warm_server.py LISTENER``: serves the socket with that number until standard input ends."""
    listener = socket.socket(fileno=int(sys.argv[1]))
    del sys.path[0]
    _load()
    gc.collect()
    gc.freeze()
    found = _Server(listener, sys.stdin.fileno()).serve()
    if found is None:
        return
    job, files = found
    _become(job, files)
    try:
        _run(job.words)
    except Exception as error:
        of_main = error.__traceback__
        of_run = of_main.tb_next if of_main else None
        error = error.with_traceback(of_run.tb_next if of_run else None)
        sys.excepthook(type(error), error, error.__traceback__)
        sys.exit(1)


if __name__ == "__main__":
    main()
