"""Runs scripts, each in a process of its own that has imported the frameworks and done nothing else.

    python fresh.py MODULE ...

imports the modules once, and then starts a copy of itself for every line of its standard input, a JSON
list of a script and its arguments, which it answers with a line ``[exit status, output]``. So every
script starts as fresh as a new interpreter does after its imports, which take seconds.
"""

import contextlib
import importlib
import io
import json
import os
import runpy
import sys
import tempfile
import traceback
import warnings


def run(arguments, output):
    """Run a script as ``python SCRIPT ARGUMENTS`` does, warnings as errors, and leave."""
    status = 0
    os.dup2(output.fileno(), 1)
    os.dup2(output.fileno(), 2)
    sys.argv = arguments
    sys.path[0] = os.path.dirname(arguments[0])
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", "The function `loads` is in beta")
    try:
        runpy.run_path(arguments[0], run_name="__main__")
    except BaseException:
        traceback.print_exc()
        status = 1
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(status)


def serve():
    """Answer lines until there are no more."""
    answers = os.dup(1)
    for line in sys.stdin:
        with tempfile.TemporaryFile() as output:
            child = os.fork()
            if child == 0:
                run(json.loads(line), output)
            _, status = os.waitpid(child, 0)
            output.seek(0)
            text = io.TextIOWrapper(output, encoding="utf-8", errors="replace").read()
        answer = json.dumps([os.waitstatus_to_exitcode(status), text])
        os.write(answers, answer.encode() + b"\n")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        with contextlib.suppress(ImportError):  # of a module of a package that is not installed
            importlib.import_module(name)
    serve()
    os._exit(0)  # what the imports set up need not be taken down
