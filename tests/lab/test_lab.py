"""The lab: its picture book, its judge, its two trained models on the real host, and its training."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch

NAMES = ("ve", "flow")
ALL = (*NAMES, "ve_small", "flow_distilled")
RIGHT_OF_EIGHT = 6
RIGHT_SHARE = 0.75
CAPTION = "a large red circle left of a small blue square on a grey background"


@pytest.fixture(scope="module")
def data(lab):
    return lab("models.data")


@pytest.fixture(scope="module")
def host_nodes(lab):
    lab("models.networks")  # the host must be open before its nodes are imported
    import nodes

    return nodes


def test_there_are_many_captions_and_the_held_out_ones_are_never_trained_on(data):
    specs = list(data.all_specs())
    captions = {data.caption(s) for s in specs}
    held = {data.caption(s) for s in specs if data.held_out(s)}
    assert len(captions) == len(specs) > 100_000
    assert 0.09 < len(held) / len(captions) < 0.11
    assert not any(data.held_out(s) for s in data.random_specs(3, 2000, held=False))
    assert all(data.held_out(s) for s in data.random_specs(3, 200, held=True))


def test_a_caption_tells_its_spec(data):
    for spec in data.random_specs(4, 300, held=True):
        assert data.parse(data.caption(spec)) == spec
        assert data.parse(data.caption(data.short(spec))) == data.short(spec)
    assert data.caption(data.parse(CAPTION)) == CAPTION
    for text in ("", "a red dog", "a red circle left of nothing", "a red circle on a red background"):
        with pytest.raises(ValueError):
            data.parse(text)


def test_short_captions_leave_size_place_and_background_open(data):
    one = data.short(data.parse("a large red circle at the top on a grey background"))
    assert data.caption(one) == "a red circle" and not one.complete
    assert data.caption(data.short(data.parse(CAPTION))) == "a red circle left of a blue square"


def test_rare_combinations_are_rarer(data):
    rng = random.Random(5)
    things = [t for _ in range(4000) for t in data.random_spec(rng).things]
    rare = sum(data._is_rare(t) for t in things) / len(things)
    assert 0.025 < rare < 0.06  # 6 of 42 combinations are rare; drawn evenly they would be 0.143


def test_drawings_are_decided_by_their_seed(data):
    specs = data.random_specs(6, 40, held=False)
    assert specs == data.random_specs(6, 40, held=False) != data.random_specs(7, 40, held=False)
    first = data.draw(specs, 8)
    assert first.shape == (40, 32, 32, 3) and first.dtype == np.float32
    assert 0.05 < first.min() and first.max() < 0.95  # room above and below, so that clipping shows
    assert np.array_equal(first, data.draw(specs, 8))
    assert not np.array_equal(first, data.draw(specs, 9))


def test_every_colour_shape_and_size_looks_different(data):
    specs = [
        data.Spec((data.Thing(c, s, z),), "in the centre", "grey")
        for c in data.COLOURS
        for s in data.SHAPES
        for z in data.RADII
    ]
    flat = data.draw(specs).reshape(len(specs), -1)
    apart = np.square(flat[:, None] - flat[None]).sum(-1) + np.eye(len(specs)) * 1e9
    assert apart.min() > 0.2


def test_the_judge_reads_real_drawings(data, lab):
    judge = lab("measure.judge")
    specs = data.random_specs(9, 400, held=True)
    drawn = data.draw(specs, 10)
    noisy = np.clip(drawn + np.random.default_rng(0).normal(0.0, 0.05, drawn.shape), 0.0, 1.0).astype(np.float32)
    assert min(judge.adherence(drawn, specs)) >= 0.99
    assert min(judge.adherence(noisy, specs)) >= 0.99
    right, everything = judge.adherence(drawn, specs[1:] + specs[:1])
    assert right < 0.05 and everything < 0.05


@pytest.mark.parametrize(
    ("other", "colours_right"),
    [
        ("a large red circle right of a small blue square on a grey background", True),
        ("a small red circle left of a small blue square on a grey background", True),
        ("a large red circle left of a small blue square on a pink background", True),
        ("a large blue circle left of a small red square on a grey background", False),
        ("a large red square left of a small blue circle on a grey background", False),
        ("a large red circle left of a small green square on a grey background", False),
        ("a large red circle at the left on a grey background", False),
    ],
)
def test_the_judge_sees_one_wrong_word(data, lab, other, colours_right):
    judge = lab("measure.judge")
    picture = data.draw([data.parse(CAPTION)], 3)[0]
    assert judge.judge(picture, data.parse(CAPTION)) == judge.Verdict(True, True)
    assert judge.judge(picture, data.short(data.parse(CAPTION))) == judge.Verdict(True, True)
    assert judge.judge(picture, data.parse(other)) == judge.Verdict(colours_right, False)


def test_the_judge_is_not_satisfied_by_an_empty_picture(data, lab):
    judge = lab("measure.judge")
    for level in (0.1, 0.55, 0.93):
        assert not judge.judge(np.full((32, 32, 3), level, np.float32), data.parse(CAPTION)).colour_and_shape


def test_the_error_finds_the_nearest_drawing(data, lab):
    evaluate = lab("measure.evaluate")
    specs = data.random_specs(12, 6, held=True)
    wobble = np.zeros((6, 2, 3))
    wobble[:, :, 0], wobble[:, :, 1] = 1.0, -1.0
    assert evaluate.nearest_drawing_error(data.paint(specs, wobble), specs).max() < 1e-12
    assert evaluate.nearest_drawing_error(1.0 - data.paint(specs, wobble), specs).min() > 0.01


def test_frechet_distance_of_known_gaussians(lab):
    frechet = lab("measure.evaluate").frechet
    points = np.random.default_rng(1).normal(size=(5000, 3))
    assert abs(frechet(points, points)) < 1e-9
    assert abs(frechet(points, points + [2.0, 0.0, 0.0]) - 4.0) < 1e-6
    assert abs(frechet(points, points * 3.0) - 4.0 * 3) < 0.5  # (3 - 1)^2 per dimension


def test_dropout_keeps_all_drops_all_or_drops_its_share(lab):
    keep = lab("models.learner").dropout_keep
    generator = torch.Generator().manual_seed(1)
    assert keep(1000, 0.0, generator).all()
    assert not keep(1000, 1.0, generator).any()
    share = 1.0 - keep(20_000, 0.1, generator).float().mean().item()
    assert abs(share - 0.1) < 0.01
    assert torch.equal(keep(50, 0.5, generator.manual_seed(2)), keep(50, 0.5, generator.manual_seed(2)))
    for p in (-0.1, 1.1):
        with pytest.raises(ValueError):
            keep(4, p)


def test_dropped_captions_become_the_empty_prompt(lab, data):
    train, models = lab("models.train"), lab("models.networks")
    learner = train.Learner("ve")
    specs = data.random_specs(2, 8, held=False)
    all_or_nothing = replace(train.Settings(steps=1), short=0.0, unknown=0.0)
    empty = torch.tensor([learner.row[t] for t in models.tokenise("")])
    dropped = train.batch_rows(learner, specs, replace(all_or_nothing, drop=1.0), 3)
    kept = train.batch_rows(learner, specs, replace(all_or_nothing, drop=0.0), 3)
    assert (dropped == empty).all()
    assert (kept != empty).any(1).all()


def test_own_tokens_are_those_of_the_host(lab, data, loaded):
    models = lab("models.networks")
    for text in ["", *(data.caption(s) for s in data.random_specs(5, 20, held=True))]:
        rows = loaded["ve"][1].tokenize(text)["l"]
        assert [[token for token, _ in row] for row in rows] == [models.tokenise(text)]


@pytest.mark.parametrize("name", ALL)
def test_weights_are_small_and_whole(lab, name):
    models = lab("models.networks")
    path = models.WEIGHTS / f"{name}.safetensors"
    assert path.stat().st_size <= 12_000_000
    tensors, settings = models.read(path)
    assert settings["model"] == name and settings["step"] == settings["steps"]
    assert settings["drop"] == 0.1
    assert all(t.isfinite().all() for t in tensors.values())


def test_unknown_model_and_missing_file_say_so(lab, tmp_path):
    models = lab("models.networks")
    with pytest.raises(ValueError, match="must be one of ve, flow"):
        models.load("sdxl")
    with pytest.raises(FileNotFoundError, match="train it with `python dev.py train`"):
        models.load("ve", tmp_path / "ve.safetensors")


@pytest.mark.parametrize("name", NAMES)
def test_parameterisation_matches_the_host(lab, name):
    """A network that gave the training target exactly would be turned into the clean latent by the host."""
    train = lab("models.train")
    learner = train.Learner(name)
    clean, noise, sigma, _ = train.batch(learner, train.Settings(steps=1), 7)
    sampling = learner.base[0].model_sampling
    noisy = sampling.noise_scaling(sigma[:, None, None, None], noise.clone(), clean)
    denoised = sampling.calculate_denoised(sigma, learner.target(clean, noise, noisy, sigma), noisy)
    assert torch.allclose(denoised, clean, atol=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_text_decides_the_prediction(loaded, lab, name):
    model, clip, _ = loaded[name]
    context, pooled = clip.encode_from_tokens(clip.tokenize(CAPTION), return_pooled=True)
    empty = clip.encode_from_tokens(clip.tokenize(""))
    strange = clip.encode_from_tokens(clip.tokenize("blurry, ugly, bad anatomy, " * 10))
    assert context.shape == empty.shape == (1, 32, 64) and strange.shape[1] > 32
    for text in (context, empty, strange, pooled):
        assert text.isfinite().all()
    x = torch.randn(2, 12, 16, 16, generator=torch.Generator().manual_seed(0))
    sigma = torch.full((2,), {"ve": 2.0, "flow": 0.8}[lab("models.networks").family(name)])
    device = model.load_device
    model.model.to(device)
    run = [
        model.model.apply_model(x.to(device), sigma.to(device), c_crossattn=c.repeat(2, 1, 1).to(device)).cpu()
        for c in (context, empty)
    ]
    assert all(r.isfinite().all() and r.shape == x.shape for r in run)
    assert (run[0] - run[1]).abs().mean() > 0.01


@pytest.mark.parametrize("name", NAMES)
def test_stock_nodes_draw_what_the_prompt_asks(loaded, lab, data, host_nodes, name):
    """EmptyLatentImage, CLIPTextEncode, KSampler and VAEDecode at w = 4, four captions, two pictures each."""
    judge = lab("measure.judge")
    model, clip, vae = loaded[name]
    encode = host_nodes.CLIPTextEncode().encode
    right = []
    for number, spec in enumerate(data.random_specs(31, 4, held=True, pairs=0.0)):
        latent = host_nodes.EmptyLatentImage().generate(32, 32, 2)[0]
        positive, negative = encode(clip, data.caption(spec))[0], encode(clip, "")[0]
        drawn = host_nodes.common_ksampler(model, 40 + number, 16, 4.0, "euler", "normal", positive, negative, latent)[
            0
        ]
        assert drawn["samples"].shape == (2, 12, 16, 16)
        shown = host_nodes.VAEDecode().decode(vae, drawn)[0]
        assert shown.shape == (2, 32, 32, 3)
        right += [judge.judge(p, spec).colour_and_shape for p in shown.float().numpy()]
    assert sum(right) >= RIGHT_OF_EIGHT


def in_one_pass(lab, loaded, texts, guidance):
    """Pictures of the distilled model at cfg 1, with a guidance embedding."""
    evaluate = lab("measure.evaluate")
    return evaluate.pictures(
        loaded["flow_distilled"], evaluate.sample(loaded["flow_distilled"], texts, 1.0, 5, steps=12, guidance=guidance)
    )


def test_the_distilled_model_draws_in_one_pass_what_two_passes_draw(loaded, lab, data):
    evaluate, judge = lab("measure.evaluate"), lab("measure.judge")
    specs = data.random_specs(32, 24, held=True, pairs=0.0)
    texts = [data.caption(s) for s in specs]
    drawn = in_one_pass(lab, loaded, texts, 4.0)
    assert judge.adherence(drawn, specs)[0] >= RIGHT_SHARE
    same, other = (
        evaluate.pictures(loaded["flow"], evaluate.sample(loaded["flow"], texts, w, 5, steps=12)) for w in (4.0, 1.0)
    )
    assert np.square(drawn - same).mean() < 0.7 * np.square(other - same).mean()


def test_the_small_model_is_a_worse_one_of_the_same_family(loaded, lab, data):
    """Nearer to the drawing that a caption asks for than one of another caption, but further off than `ve`."""
    evaluate = lab("measure.evaluate")
    specs = data.random_specs(32, 24, held=True, pairs=0.0)
    texts = [data.caption(s) for s in specs]
    error = {}
    for name in ("ve", "ve_small"):
        shown = evaluate.pictures(loaded[name], evaluate.sample(loaded[name], texts, 2.0, 5, steps=12))
        error[name] = evaluate.nearest_drawing_error(shown, specs).mean()
        wrong = evaluate.nearest_drawing_error(shown, specs[1:] + specs[:1]).mean()
        assert error[name] < 0.8 * wrong
    assert error["ve_small"] > 1.5 * error["ve"]


def test_the_unet_is_told_where_its_pixels_are(lab):
    windows = lab("models.networks").windows(torch.zeros(3, 12, 16, 24))
    assert windows.shape == (3, 9, 16, 24)
    peaks = [divmod(int(w.argmax()), 24) for w in windows[0]]
    assert peaks[0][0] < peaks[3][0] < peaks[6][0] and peaks[0][1] < peaks[1][1] < peaks[2][1]
    assert torch.allclose(windows[0], windows[0].flip(0, 1, 2), atol=1e-5)
    assert torch.equal(windows[0], windows[2])


@pytest.mark.parametrize("name", NAMES)
def test_guidance_makes_the_picture_follow_the_caption(loaded, lab, data, name):
    """One batch of 24 different held-out captions: nearly all right at w = 4, and far from any drawing at w = 16."""
    evaluate, judge = lab("measure.evaluate"), lab("measure.judge")
    specs = data.random_specs(32, 24, held=True, pairs=0.0)
    texts = [data.caption(s) for s in specs]
    shown = {
        w: evaluate.pictures(loaded[name], evaluate.sample(loaded[name], texts, w, 5, steps=12)) for w in (4.0, 16.0)
    }
    assert judge.adherence(shown[4.0], specs)[0] >= RIGHT_SHARE
    error = {w: evaluate.nearest_drawing_error(pictures, specs).mean() for w, pictures in shown.items()}
    assert error[16.0] > 2.0 * error[4.0]


def test_the_vae_gives_every_picture_back(loaded, host_nodes):
    picture = torch.rand(2, 32, 48, 3, generator=torch.Generator().manual_seed(1))
    _, _, vae = loaded["ve"]
    latent = host_nodes.VAEEncode().encode(vae, picture)[0]["samples"]
    assert latent.shape == (2, 12, 16, 24)
    assert torch.allclose(host_nodes.VAEDecode().decode(vae, {"samples": latent})[0], picture, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_inpainting_keeps_what_is_outside_the_mask(loaded, data, host_nodes, name):
    model, clip, vae = loaded[name]
    picture = torch.from_numpy(data.draw([data.parse(CAPTION)]))
    mask = torch.zeros(1, 32, 32)
    mask[:, :, 20:] = 1.0
    latent = host_nodes.VAEEncodeForInpaint().encode(vae, picture, mask, 0)[0]
    positive, negative = (host_nodes.CLIPTextEncode().encode(clip, t)[0] for t in (CAPTION, ""))
    drawn = host_nodes.common_ksampler(model, 1, 6, 4.0, "euler", "normal", positive, negative, latent)[0]
    shown = host_nodes.VAEDecode().decode(vae, drawn)[0]
    assert torch.allclose(shown[:, :, :16], picture[:, :, :16], atol=1e-4)


def test_the_loader_node_loads_both_models(lab):
    node = lab("nodes").AzimuthLabLoader
    # Not asyncio.run: the browser tests of the same session may have left a loop running in this thread.
    with pytest.raises(StopIteration) as listed:
        lab("nodes").LabExtension().get_node_list().send(None)
    assert listed.value.value == [node]
    schema = node.GET_SCHEMA()
    assert (schema.node_id, schema.display_name, schema.category) == (
        "AzimuthLabLoader",
        "Azimuth Lab Loader",
        "azimuth/lab",
    )
    model, clip, vae = node.execute("flow").result
    assert model.get_model_object("latent_format").latent_channels == 12
    assert clip.tokenize("a")["l"] and vae.latent_channels == 12


@pytest.mark.parametrize("name", ALL)
def test_an_interrupted_training_ends_as_an_uninterrupted_one(lab, tmp_path, name):
    train, models = lab("models.train"), lab("models.networks")
    settings = train.Settings(steps=4, batch=4, warm_up=2)
    device = torch.device("cpu")
    whole = train.Training(name, settings, device)
    for _ in range(4):
        whole.advance()
    first = train.Training(name, settings, device)
    for _ in range(2):
        first.advance()
    first.save(tmp_path / "half.safetensors")
    second = train.Training(name, settings, device)
    second.restore(tmp_path / "half.safetensors")
    assert second.step == 2
    for _ in range(2):
        second.advance()
    for key, value in whole.named.items():
        assert torch.equal(value, second.named[key]), key
        assert torch.equal(whole.mean[key], second.mean[key]), key
    with pytest.raises(ValueError, match="other settings"):
        train.Training(name, replace(settings, seed=2), device).restore(tmp_path / "half.safetensors")
    second.export(tmp_path / f"{name}.safetensors")
    assert models.load(name, tmp_path / f"{name}.safetensors")[0].model.diffusion_model is not None


def test_the_command_goes_on_after_an_interruption(lab, tmp_path, monkeypatch):
    """Stopped in the middle of the last stage: the others are not trained again, and nothing is left behind."""
    train, models = lab("models.train"), lab("models.networks")
    small = {"steps": 3, "batch": 2, "warm_up": 1}
    again = small | {"start": "ve"}
    stages = (("ve", small | {"reading": 2}), ("ve", again | {"rate": 5e-4}), ("flow", again))
    monkeypatch.setattr(train, "STAGES", stages)
    advance, seen = train.Training.advance, []

    def stop_once(training):
        seen.append((training.name, training.step))
        if seen.count(("flow", 1)) == 1 and seen[-1] == ("flow", 1):
            training.save(train.resume_file(tmp_path, 2))
            raise KeyboardInterrupt
        return advance(training)

    monkeypatch.setattr(train.Training, "advance", stop_once)
    with pytest.raises(KeyboardInterrupt):
        train.main(["--out", str(tmp_path)])
    assert train.main(["--out", str(tmp_path)]) == 0
    first = [("ve", i) for i in range(3)]
    assert seen == [*first, *first, ("flow", 0), ("flow", 1), ("flow", 1), ("flow", 2)]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["flow.safetensors", "ve.safetensors"]
    for name in NAMES:
        assert models.read(tmp_path / f"{name}.safetensors")[1]["step"] == 3
        models.load(name, tmp_path / f"{name}.safetensors")


def test_questions_about_a_caption(lab, data):
    train = lab("models.train")
    answers = train.questions(data.parse(CAPTION))
    nothing = [6, -100, -100]
    assert answers == [1, 0, 0, *nothing, 0, 0, 1, 1, 5, 0, *nothing, *nothing]
    assert train.questions(data.parse("a red circle")) == [-100, 0, 0] + [-100] * 15
    assert all(a < c for a, c in zip(answers, train.CHOICES, strict=True))


def test_the_text_model_learns_to_read(lab):
    train = lab("models.train")
    learner = train.Learner("ve")
    right = train.teach_reading(learner, train.Settings(steps=1, reading=120), torch.device("cpu"), captions=96)
    assert right > 0.5  # always the commonest answer gives 0.35
    assert all(p.isfinite().all() for p in learner.parameters())


def test_the_numbers_of_the_help_pages_are_measured(lab, capsys):
    assert lab("measure.page_numbers").main(["--steps", "3"]) == 0
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    tables = {cells[0]: cells[1:] for cells in rows}
    assert len(tables["every, start"]) == 6 and len(tables["progress"]) == 5
    distances = [float(number) for row in ("2, from 0.2", "3, from 0.2", "2, from 0") for number in tables[row]]
    assert all(0.0 <= number < 1.0 for number in distances) and max(distances) > 0.01
    spaces = ("ve: eps", "flow: eps", "flow: velocity")
    gammas = [float(number) for space in spaces for number in tables[space][2].split(" to ")]
    assert all(0.5 < number <= 1.0 for number in gammas)


def test_training_lowers_the_loss(lab):
    train = lab("models.train")
    training = train.Training("ve", train.Settings(steps=30, batch=4, warm_up=4), torch.device("cpu"))
    same = train.batch(training.learner, training.settings, step=999)
    before = training.learner(*same).item()
    for _ in range(12):
        training.advance()
    assert training.learner(*same).item() < 0.95 * before
    assert all(v.isfinite().all() for v in training.named.values())
