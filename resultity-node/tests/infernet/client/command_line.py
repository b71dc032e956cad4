"""Runs the client's command line, each command in a process of its own, but without loading its packages again and again."""

import multiprocessing
import os
import pathlib
import sys
import tempfile

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["infernet_client"])


def run(*arguments, stdin=""):
    """Gives the command's code, its output and its errors."""
    with tempfile.TemporaryDirectory() as folder:
        files = [pathlib.Path(folder, name) for name in ("in", "out", "err")]
        files[0].write_text(stdin)
        process = PROCESSES.Process(target=main, args=(arguments, files))
        process.start()
        process.join(timeout=60)
        if process.exitcode is None:
            process.kill()
            raise TimeoutError(f"{arguments} takes too long: {files[2].read_text()}")
        return process.exitcode, files[1].read_text(), files[2].read_text()


def main(arguments, files):
    import infernet_client

    for number, (path, mode) in enumerate(zip(files, ("r", "w", "w"))):
        with open(path, mode) as file:
            os.dup2(file.fileno(), number)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")
    sys.argv = ["infernet-client", *arguments]
    sys.exit(infernet_client.main())
