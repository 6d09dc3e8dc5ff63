"""The command line: ``radial gallery``, ``radial build``, ``radial evaluate``, ``radial certify``,
``radial compress``, ``radial export``, ``radial rates``, ``radial render``, ``radial reproduce``, ``radial compile``.

Exit status: 0 success, 1 the error exceeds eps or is not proved to stay within it, 2 wrong input or a refused build
(one line on stderr), 130 interrupted. With --json the result is one JSON object on stdout and nothing else goes there.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import approx
from approx._interrupts import plain_interrupts
from constructions import (
    _build,
    _certify,
    _compile,
    _compress,
    _evaluate,
    _export,
    _gallery,
    _help,
    _rates,
    _render,
    _reproduce,
)

__all__ = ["main"]

COMMANDS = {  # a module with add_options(parser) and run(args) -> exit status, what it does, what --help adds
    "gallery": (_gallery, "List the ready-made targets.", _help.GALLERY),
    "build": (_build, "Build a network for a target and measure its error.", _help.BUILD),
    "evaluate": (_evaluate, "Measure the error of a saved network.", _help.EVALUATE),
    "certify": (_certify, "Prove bounds of the error of a saved network.", _help.CERTIFY),
    "compress": (_compress, "Make a saved network smaller.", _help.COMPRESS),
    "export": (_export, "Write a saved network for programs without this package.", _help.EXPORT),
    "rates": (_rates, "Tabulate layers over tolerances, with observed orders.", _help.RATES),
    "render": (_render, "Write a page or an animation that shows a network at work.", _help.RENDER),
    "reproduce": (_reproduce, "Repeat the experiments of arXiv 2107.02550.", _help.REPRODUCE),
    "compile": (_compile, "Compile all inner loops now, so that no other command waits for it.", _help.COMPILE),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command `radial` with these arguments (default: sys.argv[1:]); returns the exit status.

    Without arguments it prints what --help prints. Raises SystemExit(0) for --help and --version; every other outcome
    is a status.
    """
    try:
        if argv is None:
            gc.freeze()  # what is imported stays: collections need not go through it again and again
            argv = sys.argv[1:]
        args = _parser().parse_args(argv or ["--help"])
        with plain_interrupts():
            status = args.run(args)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        print("radial: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, TypeError, OSError, ImportError, MemoryError, RuntimeError) as error:
        text = " ".join(str(error).split()) or type(error).__name__
        print(f"radial: error: {text}", file=sys.stderr)
        return 2


class _Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are errors like all others: one line, status 2."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message} (see {self.prog} --help)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="radial",
        description="Build explicit radial networks that approximate a function, and measure their error.",
        epilog=_help.MAIN,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"radial-approx {approx.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (module, summary, epilog) in COMMANDS.items():
        sub = commands.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        sub.set_defaults(run=module.run)
        sub.add_argument("--json", action="store_true", help="print one JSON value on stdout")
        module.add_options(sub)
    return parser
