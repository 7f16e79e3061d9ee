"""A model whose calls leave their process changed where only a later call would notice."""

import faulthandler
import io
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path

from marshmallow import fields

from modelyard.models_plugin import InvalidData, Model, ReturnedFile


class _Unwritable:
    def write(self, text):
        raise RuntimeError("nothing is printed here")

    flush = None


class _Late(io.RawIOBase):
    """A file that begins well."""

    def __init__(self, result):
        self._results = [b"begun", result]

    def read(self, size=-1):
        result = self._results.pop(0)
        if isinstance(result, BaseException):
            raise result
        return result


class Meddler(Model):
    weights_optional = True
    predict_arguments = {"do": fields.String(load_default="work")}

    train_arguments = {"do": fields.String(load_default="work")}

    def metadata(self):
        if Path(os.environ.get("MEDDLER_IS_MUTE", "none")).exists():
            raise LookupError("no words")
        return {}

    def predict(self, do):
        return getattr(self, "_" + do)()

    def train(self, run, do):
        self.run = run
        with run.checkpoint(1) as checkpoint:
            (checkpoint.weights / "nothing").write_text("nothing")
        return getattr(self, "_" + do)()

    def _work(self):
        """What an honest call does: prints, computes, recurses a little, answers much."""
        print("worked", flush=True)
        print("worked", file=sys.stderr, flush=True)
        until = time.process_time() + 0.3
        while time.process_time() < until:
            pass
        return {"pid": os.getpid(), "depth": self._depth(150), "much": "x" * 300_000}

    def _depth(self, left):
        return 0 if left == 0 else 1 + self._depth(left - 1)

    # -- output -------------------------------------------------------------------------------

    def _close_streams(self):
        sys.stdout.close()
        sys.stderr.close()
        return "closed"

    def _break_streams(self):
        sys.stdout = sys.stderr = _Unwritable()
        return "broken"

    def _close_streams_and_fail(self):
        sys.stdout.close()
        sys.stderr.close()
        self.run.log("closed")
        raise LookupError("the moon is lost")

    def _fill_a_pipe(self):
        """Output goes into a pipe that nobody reads: as a library that captures it may leave it."""
        self.reader, writer = os.pipe()
        os.set_blocking(writer, False)
        while True:
            try:
                os.write(writer, b"x" * 4096)
            except BlockingIOError:
                break
        os.set_blocking(writer, True)
        os.dup2(writer, 1)
        os.dup2(writer, 2)
        return "captured"

    # -- what ends the process later ------------------------------------------------------------

    def _timers(self):
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.05)
        signal.setitimer(signal.ITIMER_PROF, 0.05)
        return "set"

    def _watchdog(self):
        faulthandler.dump_traceback_later(0.1, exit=True)
        return "set"

    # -- limits -------------------------------------------------------------------------------

    def _limit_files(self):
        return self._limited(resource.RLIMIT_FSIZE, 0)

    def _limit_files_for_good(self):
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        return "limited"

    def _limit_descriptors(self):
        return self._limited(resource.RLIMIT_NOFILE, 3)

    def _limit_memory(self):
        return self._limited(resource.RLIMIT_AS, 1 << 20)

    def _limit_recursion(self):
        sys.setrecursionlimit(100)
        return "limited"

    def _limited(self, what, soft):
        resource.setrlimit(what, (soft, resource.getrlimit(what)[1]))
        return "limited"

    # -- answers that fail while they are read ----------------------------------------------------

    def _exits_late(self):
        def items():
            yield 1
            sys.exit(3)

        return items()

    def _interrupted_late(self):
        def items():
            yield 1
            raise KeyboardInterrupt

        return items()

    def _fails_late(self):
        def items():
            yield 1
            raise LookupError("the second is lost")

        return items()

    def _file_fails_late(self):
        return ReturnedFile(_Late(LookupError("the rest is lost")), "text/plain", "a.txt")

    def _file_of_numbers(self):
        return ReturnedFile(_Late(42), "text/plain", "a.txt")

    # -- much where little is expected ------------------------------------------------------------

    def _long_type(self):
        return ReturnedFile(b"x", "text/" + "y" * 5_000_000, "a.txt")

    def _long_name(self):
        return ReturnedFile(b"x", "text/plain", "n" * 5_000_000)

    def _long_class(self):
        raise type("E" * 5_000_000, (Exception,), {})("x")

    def _long_notes(self):
        for _ in range(70):
            self.run.note("n" * 1_000_000)
        return "noted"

    def _long_progress(self):
        self.run.progress(1, 2, "p" * 50_000_000)
        return "told"

    def _long_invalid_data(self):
        raise InvalidData("d" * 50_000_000, file="f" * 1_000_000, line=1)

    def _forged_words(self):
        """In the place of what the run process writes, and then it is ended."""
        root = self.run.folder.parent
        error = {"reason": "plugin_failed", "message": "w" * 50_000_000}
        (root / "result.json").write_text(json.dumps({"format": 1, "error": error}))
        os._exit(1)

    def _far_step(self):
        with self.run.checkpoint(2**63):
            pass

    def _long_refusal(self):
        raise NotImplementedError("x" * 20_000_000)
