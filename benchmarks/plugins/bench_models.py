"""Models without torch for the benchmarks."""

import time

from marshmallow import fields

from modelyard.models_plugin import Model


class Trivial(Model):
    """Answers at once: what is left is the server's own time."""

    weights_optional = True
    predict_arguments = {"x": fields.Float(required=True)}

    def predict(self, x):
        return x + 1


class Burner(Model):
    """Trains by burning CPU on as many processes as it is given threads."""

    train_arguments = {"seconds": fields.Float(required=True)}

    def train(self, run, seconds):
        import multiprocessing

        context = multiprocessing.get_context("fork")
        burners = [context.Process(target=_burn, args=(seconds,)) for _ in range(run.threads)]
        for burner in burners:
            burner.start()
        run.phase("training")
        while any(burner.is_alive() for burner in burners) and not run.should_stop:
            time.sleep(0.05)
        for burner in burners:
            burner.kill()


def _burn(seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        sum(range(10_000))


class Steps(Model):
    """Waits at every step, as for a GPU, and reports it or not: what is left is reporting's CPU."""

    train_arguments = {
        "steps": fields.Integer(required=True),
        "rounds": fields.Integer(required=True),
    }

    def train(self, run, steps, rounds):
        run.phase("training")
        cpu = {"plain": [], "reported": []}
        step = 0
        for _ in range(rounds):
            for kind, times in cpu.items():
                started = time.process_time()
                for _ in range(steps):
                    step += 1
                    time.sleep(0.001)
                    if kind == "reported":
                        run.report(step, loss=1.0 / step, accuracy=0.5, learning_rate=1e-3)
                time.sleep(0.7)  # the writer thread's part is counted too
                times.append(time.process_time() - started)
        return cpu
