"""In which form a latent interest is sent: what it costs, what a defence does to it, and what the cloud reads."""

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict

from clients.fields import BadMessage
from clients.messages import MEASURED, REQUEST, RequestRules, pack_request, read_request
from clients.upload import PLAIN, UploadForm, quantise

PATH = np.array([True, False, True, True, False, False])


def sent(records: dict) -> Message:  # type: ignore[type-arg]
    return Message(RecordDict(dict(records)), dst_node_id=1, message_type="train")


def interest(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, 64).astype(np.float32)


@pytest.mark.parametrize(
    ("form", "bits"),
    [
        (PLAIN, 8 + 64 * 32),
        (UploadForm(bits=8), 8 + 64 * 8 + 32),
        (UploadForm(bits=4), 8 + 64 * 4 + 32),
        (UploadForm(latent=False), 8),
        (UploadForm(clip=2.0, noise=0.5), 8 + 64 * 32),
    ],
)
def test_bits_are_those_of_the_path_the_numbers_and_the_scale(form: UploadForm, bits: int) -> None:
    message = sent(pack_request(PATH, interest(), 7, form))
    found = read_request(message, RequestRules(6, upload=form))
    assert found.bits == bits == 8 + form.latent_bits
    assert found.path.tolist() == PATH.tolist()


def test_the_plain_form_sends_the_numbers_themselves() -> None:
    found = read_request(sent(pack_request(PATH, interest(), 7)), RequestRules(6))
    assert found.latent.tobytes() == interest().tobytes()


def test_codes_by_hand() -> None:
    latent = np.zeros(64, dtype=np.float32)
    latent[:4] = [1.4, -0.7, 0.29, 0.31]  # the scale of four bits is 1.4 / 7 = 0.2
    codes, scale = quantise(latent, 4)
    assert scale == pytest.approx(0.2)
    assert codes[:5].tolist() == [7, -4, 1, 2, 0]  # -3.5 goes to the even neighbour
    record = pack_request(PATH, latent, 0, UploadForm(bits=4))[REQUEST]
    assert record["latent"].numpy()[:2].tolist() == [(7 + 8) | (-4 + 8) << 4, (1 + 8) | (2 + 8) << 4]  # type: ignore[union-attr]
    found = read_request(
        sent(pack_request(PATH, latent, 0, UploadForm(bits=4))), RequestRules(6, upload=UploadForm(bits=4))
    )
    np.testing.assert_allclose(found.latent[:5], [1.4, -0.8, 0.2, 0.4, 0.0], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("bits", [8, 4])
def test_a_code_is_at_most_half_a_step_off(bits: int) -> None:
    form, latent = UploadForm(bits=bits), interest(3)
    step = np.abs(latent).max() / (2 ** (bits - 1) - 1)
    assert np.abs(form.as_read(latent) - latent).max() <= step / 2 * (1 + 1e-5)
    assert not form.as_read(np.zeros(64, dtype=np.float32)).any()


def test_clipping_scales_to_the_norm_and_leaves_shorter_ones() -> None:
    form = UploadForm(clip=1.0)
    assert np.linalg.norm(form.clipped(interest())) == pytest.approx(1.0, abs=1e-6)
    short = interest() / 100
    assert form.clipped(short).tolist() == short.tolist()


def test_noise_has_its_deviation_and_is_of_the_session_alone() -> None:
    form, latent = UploadForm(clip=0.5, noise=3.0), interest()
    drawn = np.stack([form.protected(latent, 0, device, 0) for device in range(200)]) - form.clipped(latent)
    assert drawn.std() == pytest.approx(1.5, rel=0.03)
    assert abs(drawn.mean()) < 0.05
    again = form.protected(latent, 0, 7, 0)
    assert again.tolist() == form.protected(latent, 0, 7, 0).tolist()
    others = [form.protected(latent, *key) for key in ((1, 7, 0), (0, 8, 0), (0, 7, 1))]
    assert all(np.abs(again - other).max() > 0.1 for other in others)


def changed(form: UploadForm, name: str, value: np.ndarray | None) -> Message:
    records = pack_request(PATH, interest(), 0, form)
    arrays = dict(records[REQUEST])
    arrays.pop(name, None)
    if value is not None:
        arrays[name] = Array(value)
    return sent({REQUEST: ArrayRecord(arrays), MEASURED: MetricRecord({"macs": 0})})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("form", "name", "value", "match"),
    [
        (UploadForm(bits=8), "scale", None, "exactly the arrays path and latent and scale"),
        (UploadForm(bits=8), "scale", np.array([-1], dtype=np.float32), "scale is -1"),
        (UploadForm(bits=8), "scale", np.array([np.nan], dtype=np.float32), "not finite"),
        (UploadForm(bits=8), "scale", np.array([3e38], dtype=np.float32), "makes numbers that are not finite"),
        (UploadForm(bits=4), "latent", np.zeros(64, dtype=np.uint8), r"expected uint8 \(32,\)"),
        (UploadForm(latent=False), "latent", interest(), "exactly the arrays path"),
        (PLAIN, "scale", np.ones(1, dtype=np.float32), "exactly the arrays path and latent"),
    ],
)
def test_another_form_than_agreed_is_rejected(
    form: UploadForm, name: str, value: np.ndarray | None, match: str
) -> None:
    with pytest.raises(BadMessage, match=match):
        read_request(changed(form, name, value), RequestRules(6, upload=form))


def test_the_form_travels_to_the_device() -> None:
    form = UploadForm(clip=2.0, noise=0.5, bits=8)
    assert UploadForm.of(sent({"upload": form.record()})) == form
    assert UploadForm.of(sent({})) == PLAIN
    with pytest.raises(BadMessage, match="expected 4, 8 or 32"):
        UploadForm.of(sent({"upload": UploadForm(bits=16).record()}))
