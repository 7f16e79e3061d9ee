import torch
from marshmallow import fields, validate
from safetensors.torch import load_file, save_file
from torch import nn

from modelyard.models_plugin import InvalidData, Model
from modelyard.schemas.fields import Tensor


class TinyTorchClassifier(Model):
    metadata = {"summary": "Learns to tell points apart", "license": "Apache-2.0"}
    train_arguments = {
        "points": Tensor(shape=(None, None), dtype="float32", required=True),
        "labels": Tensor(shape=(None,), dtype="int64", minimum=0, required=True),
        "steps": fields.Integer(load_default=200, validate=validate.Range(min=1, max=100_000)),
    }
    predict_arguments = {"points": Tensor(shape=(None, None), dtype="float32", required=True)}

    def train(self, run, points, labels, steps):
        if len(points) != len(labels):
            raise InvalidData(f"{len(points)} points, but {len(labels)} labels")
        x, y = torch.from_numpy(points).to(run.device), torch.from_numpy(labels).to(run.device)
        torch.manual_seed(run.seed)
        network = build(x.shape[1], int(y.max()) + 1).to(run.device)
        optimizer = torch.optim.AdamW(network.parameters(), lr=0.02)
        begun, accuracy = 0, 0.0
        if run.resume_from is not None:  # it was paused or cut off: go on from its checkpoint
            network.load_state_dict(load_file(run.resume_from.weights / "model.safetensors"))
            state = torch.load(run.resume_from.state / "state.pt", weights_only=True)
            optimizer.load_state_dict(state["optimizer"])
            torch.set_rng_state(state["random"])
            begun, accuracy = state["step"], state["accuracy"]
        for step in range(begun + 1, steps + 1):
            logits = network(x)
            loss = nn.functional.cross_entropy(logits, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            accuracy = (logits.argmax(1) == y).float().mean().item()
            run.report(step, loss=loss.item(), accuracy=accuracy)
            run.progress(step, steps, "steps")
            stop = run.should_stop
            if stop or step == steps or step % 100 == 0:
                state = {"step": step, "accuracy": accuracy, "random": torch.get_rng_state()}
                state["optimizer"] = optimizer.state_dict()
                with run.checkpoint(step, metrics={"accuracy": accuracy}) as checkpoint:
                    save_file(network.state_dict(), checkpoint.weights / "model.safetensors")
                    torch.save(state, checkpoint.state / "state.pt")
            if stop:
                break
        return {"accuracy": accuracy}

    def load(self, weights, device):
        tensors = load_file(weights / "model.safetensors", device=device)
        self.network = build(tensors["0.weight"].shape[1], len(tensors["2.bias"])).to(device)
        self.network.load_state_dict(tensors)

    @torch.inference_mode()
    def predict(self, points):
        x = torch.from_numpy(points).to(next(self.network.parameters()).device)
        return self.network(x).softmax(1).cpu().numpy()


def build(inputs, classes):
    return nn.Sequential(nn.Linear(inputs, 32), nn.ReLU(), nn.Linear(32, classes))
