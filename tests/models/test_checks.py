"""A device or a quantisation that cannot be is refused in one line, before torch is imported or a weight is read."""

import json
import subprocess
import sys

import pytest

from mibe.errors import ModelError, UsageError
from mibe.models import load_model
from mibe.models.hf import checks

FOUR = {"load_in_4bit": "true"}


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch, tmp_path):
    monkeypatch.setattr(checks, "DEVICES", tmp_path / "dev")


@pytest.fixture
def bitsandbytes(monkeypatch, tmp_path):
    """A package of this name, of which only that it is there is looked at."""
    (tmp_path / "site" / "bitsandbytes").mkdir(parents=True)
    (tmp_path / "site" / "bitsandbytes" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path / "site")


def refused(kind, **args):
    with pytest.raises(kind) as caught:
        load_model("hf", {"pretrained": "nobody/nothing", **args})
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (FOUR | {"load_in_8bit": "true"}, "load_in_4bit or load_in_8bit, not both"),
        ({"bnb_4bit_quant_type": "nf4"}, "bnb_4bit_quant_type of the model 'hf' goes with load_in_4bit=true"),
        ({"bnb_4bit_compute_dtype": "bfloat16", "load_in_8bit": "true"}, "goes with load_in_4bit=true"),
        (FOUR | {"bnb_4bit_quant_type": "int4"}, "bnb_4bit_quant_type=int4 of the model 'hf' must be nf4 or fp4"),
        (
            FOUR | {"dtype": "float64"},
            "dtype=float64 of the model 'hf' must be one of auto, float16, bfloat16, float32",
        ),
        (FOUR | {"bnb_4bit_compute_dtype": "auto"}, "must be one of float16, bfloat16, float32 with load_in_4bit"),
    ],
)
def test_quantisation_that_does_not_go_together(args, says):
    assert says in refused(UsageError, **args)


def test_quantisers_that_are_not_installed(monkeypatch):
    for package in ("bitsandbytes", "auto_gptq", "gptqmodel"):
        monkeypatch.setitem(sys.modules, package, None)
    assert "load_in_4bit needs bitsandbytes, which is not installed: pip install" in refused(ModelError, **FOUR)
    assert "autogptq needs the package auto_gptq" in refused(ModelError, autogptq="true")
    assert "gptqmodel needs the package gptqmodel" in refused(ModelError, gptqmodel="true")


@pytest.mark.usefixtures("bitsandbytes")
def test_a_model_that_is_quantised_is_not_quantised_again(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"quantization_config": {"quant_method": "gptq", "bits": 4}}))
    says = refused(ModelError, pretrained=str(tmp_path), **FOUR)
    assert says == f"{tmp_path} is quantised already, by gptq; leave load_in_4bit out"
    (tmp_path / "config.json").write_text("{")
    assert "holds no weights" in refused(ModelError, pretrained=str(tmp_path), **FOUR)


@pytest.mark.skipif(sys.platform != "linux", reason="devices are looked for under Linux's /dev")
@pytest.mark.parametrize("device", ["cuda", "cuda:7"])
def test_a_gpu_on_a_machine_without(device, tmp_path):
    assert f"device={device}: this machine has 0 CUDA devices that torch can use" in refused(ModelError, device=device)
    # With a device of that kind, the rest is for torch to say.
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "nvidiactl").touch()
    checks.check({"pretrained": "nobody/nothing", "device": device})


def test_torch_is_not_imported_for_it():
    code = (
        "import sys\nfrom mibe.errors import MibeError\nfrom mibe.models import load_model\n"
        "try:\n    load_model('hf', {'pretrained': 'nobody/nothing', 'load_in_4bit': 'true', 'dtype': 'float64'})\n"
        "except MibeError as error:\n    print(error, 'torch' in sys.modules, 'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("with load_in_4bit False False\n")


def test_an_accelerator_of_another_kind_that_is_not_there():
    torch = pytest.importorskip("torch")
    pytest.importorskip("lm_eval")
    from mibe.models.hf.loading import choose_device

    if torch.backends.mps.is_available() or torch.xpu.is_available():
        pytest.skip("this machine has one")
    for device in ("mps", "xpu:1", "npu", "hpu"):
        with pytest.raises(ModelError, match=f"device={device}: this machine has no {device[:3]} that torch can use"):
            choose_device(device)
    assert choose_device("cpu") == "cpu"
