"""The state of an unfinished run on the disk, so that a run that was killed goes on and ends as if it had not been.

What a step needs besides the run's configuration: weights, balance biases, the optimiser's moments, and how many steps
were made. Nothing is drawn at random after the first weights but the order of the data, which the seed and the step
give. Tensors and JSON, no pickle: a file that somebody else put there can be wrong, but not run.
"""

import hashlib
import json
import os
import tempfile
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

import moelaws
from moelaws.config import RunConfig
from moelaws.models import Transformer
from moelaws.provenance import machine
from moelaws.training.saving import Saving

_SHARE = 100  # a run spends at most one part in so many on saving, however large the model and slow the disk
_BYTES_PER_SECOND = 2e8  # of a slow disk, before the first saving has shown how long one takes
_TENSORS = 3  # of each parameter's size: itself and two moments
_LOSSES = "losses"
_NEVER = float("inf")


class RunState:
    """Loads and saves the state of one run, and counts its seconds.

    Args:
        run: the run.
        text_sha256: fingerprint of the text it reads.
        place: the device it runs on.
        saving: where and how often; ``None`` for a run that is not saved.

    Attributes:
        place: the device.
    """

    def __init__(self, run: RunConfig, text_sha256: str, place: torch.device, saving: Saving | None) -> None:
        reachable = saving is not None and saving.reachable
        self.place = place
        self._run, self._text = run, text_sha256
        self._given = saving
        self._saving = saving or Saving(Path())
        self._file = self._saving.file(run.run_id)
        self._identity = {
            "run": run.run_id,
            "text": text_sha256,
            "code": _CODE,
            "torch": torch.__version__,
            "device": "cpu" if place.type == "cpu" else torch.cuda.get_device_name(place),
            "machine": machine(),
            "threads": str(torch.get_num_threads()),
        }
        self._began = time.perf_counter()
        self._due = self._began + self._saving.every if reachable else _NEVER
        self._before = 0.0

    @property
    def seconds(self) -> float:
        """Seconds that this run was trained for, before it was killed and now."""
        return self._before + time.perf_counter() - self._began

    def of(self, run: RunConfig) -> "RunState":
        """The state of the run that this one starts from, beside its own."""
        return RunState(run, self._text, self.place, self._given)

    def forget_start(self) -> None:
        """Remove the state of the run that this one starts from: it is not needed any more."""
        if self._due != _NEVER and self._run.start is not None:
            self._saving.forget(self._run.start.run_id)

    def leave_out(self, seconds: float) -> None:
        """Do not count some seconds: what a run starts from was made in them."""
        self._began += seconds

    def load(self, model: Transformer, optimiser: torch.optim.Optimizer) -> list[float]:
        """Put a saved state into a new model and its optimiser, if there is one of this run that was made here.

        Returns:
            The losses of the steps made; empty where the run begins.
        """
        if self._due == _NEVER:
            return []
        weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
        self._due = max(self._due, self._began + _SHARE * _TENSORS * weights / _BYTES_PER_SECOND)
        if not self._file.exists():
            return []
        try:
            seconds, tensors = _read(self._file, self._identity)
            losses = tensors.pop(_LOSSES).tolist()
            _check_names(tensors, model, len(losses) > 0)
            _fill(model, optimiser, tensors)
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            reason = str(error).partition("\n")[0][:150]
            self._saving.tell(f"{self._file}: not a state that this run can go on from ({reason}); it begins again")
            return []
        self._before = seconds
        return losses

    def save(self, model: Transformer, optimiser: torch.optim.Optimizer, losses: list[float]) -> None:
        """Save the state after a step, if it is time. A state is there as a whole or not at all."""
        start = time.perf_counter()
        if start < self._due:
            return
        tensors = _gather(model, optimiser) | {_LOSSES: torch.tensor(losses, dtype=torch.float64)}
        header = {"identity": self._identity, "seconds": self.seconds, "check": _check(tensors)}
        try:
            self._saving.folder.mkdir(exist_ok=True)
            _write(self._file, tensors, {"state": json.dumps(header)})
        except (OSError, SafetensorError) as error:
            self._due = _NEVER
            self._saving.tell(f"{self._file}: {error}; the run goes on and is not saved any more")
            return
        end = time.perf_counter()
        self._due = end + max(self._saving.every, _SHARE * (end - start))


def _gather(model: Transformer, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    tensors = {f"model.{name}": tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    for number, values in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{number}.{name}": tensor.cpu().contiguous() for name, tensor in values.items()}
    return tensors


def _fill(model: Transformer, optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimiser."):
            _, number, key = name.split(".")
            moments.setdefault(int(number), {})[key] = tensor
    optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            tensor.copy_(tensors[f"model.{name}"])


def _check_names(tensors: dict[str, Tensor], model: Transformer, begun: bool) -> None:
    expected = {f"model.{name}": tensor.shape for name, tensor in model.state_dict().items()}
    found = {name: tensor.shape for name, tensor in tensors.items() if name.startswith("model.")}
    moments = {name for name in tensors if name.startswith("optimiser.")}
    count = sum(1 for _ in model.parameters())
    wanted = {f"optimiser.{i}.{name}" for i in range(count) for name in ("step", "exp_avg", "exp_avg_sq")}
    if found != expected or moments != wanted or not begun:
        raise ValueError("other tensors than the model's")


def _read(file: Path, identity: dict[str, str]) -> tuple[float, dict[str, Tensor]]:
    """Seconds and tensors of a state of the same run, made by the same code on the same kind of machine."""
    with safe_open(file, framework="pt") as opened:
        header: dict[str, Any] = json.loads((opened.metadata() or {})["state"])
        for name, wanted in identity.items():
            found = header["identity"].get(name)
            if found != wanted:
                raise ValueError(f"its {name} is {found}, expected {wanted}")
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    if _check(tensors) != header["check"]:
        raise ValueError("it is damaged")
    return float(header["seconds"]), tensors


def _check(tensors: Mapping[str, Tensor]) -> int:
    """A checksum of the tensors' bytes."""
    check = 0
    for name in sorted(tensors):
        check = zlib.crc32(tensors[name].reshape(-1).view(torch.uint8).numpy().data, zlib.crc32(name.encode(), check))
    return check


def _write(file: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    handle, temporary = tempfile.mkstemp(prefix=f".{file.stem}.", dir=file.parent)
    try:
        save_file(tensors, temporary, metadata=metadata)
        os.fsync(handle)
        os.replace(temporary, file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)


def _fingerprint() -> str:
    """Hash of the code that decides what the next step does."""
    package = Path(moelaws.__file__).parent
    files = [package / "config.py", package / "counting.py", *sorted((package / "models").glob("*.py"))]
    files += sorted((package / "kernels").glob("*.py"))
    files += [package / "text" / f"{name}.py" for name in ("batches", "synthetic")]
    files += [package / "training" / f"{name}.py" for name in ("replay", "state", "step", "train")]
    files += [package / "reshape" / "upcycle.py"]
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(package).as_posix()}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


# At import: what this process runs, not what lies on its disk by now.
_CODE = _fingerprint()
