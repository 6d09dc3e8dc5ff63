"""Training loops against plain loops written out, how they end, and what they refuse."""

import itertools
import math

import numpy as np
import pytest
import torch

from approx.activations import ShiftedReLU
from approx.training import Training, random_network, train

X = torch.linspace(-2, 2, 30, dtype=torch.float64)[:, None]
Y = torch.exp(-X * X)


def by_hand(network, epochs, lr, momentum=0.0, nesterov=False):
    """Full-batch descent by finite differences of the loss, entry by entry: (losses, weights)."""
    layers = [[w.clone(), b.clone(), rho] for w, b, rho in network.layers()]

    def loss():
        v = X
        for weight, bias, rho in layers:
            v = v @ weight.T + bias
            v = v if rho is None else rho(v)
        return float(((v - Y) ** 2).mean())

    values = [value for layer in layers for value in layer[:2]]
    speeds, losses = [torch.zeros_like(value) for value in values], [loss()]
    for _ in range(epochs):
        gradients = []
        for value in values:
            gradient = torch.zeros_like(value)
            for entry in np.ndindex(*value.shape):
                kept, sides = value[entry].item(), []
                for step in (1e-5, -1e-5):
                    value[entry] = kept + step
                    sides.append(loss())
                value[entry] = kept
                gradient[entry] = (sides[0] - sides[1]) / 2e-5
            gradients.append(gradient)
        for value, speed, gradient in zip(values, speeds, gradients, strict=True):
            speed.mul_(momentum).add_(gradient)
            value.sub_(lr * (gradient + momentum * speed if nesterov else speed))
        losses.append(loss())
    return losses, values


@pytest.mark.parametrize("options", [{}, {"momentum": 0.8}, {"momentum": 0.8, "nesterov": True}])
def test_full_batches_against_finite_differences(options):
    network = random_network((1, 3, 2, 1), "radial_swish", seed=4)
    run = train(network, X, Y, lr=0.2, epochs=5, **options)
    losses, values = by_hand(network, 5, 0.2, **options)
    assert run.losses == pytest.approx(losses, abs=1e-9)
    trained = [value for weight, bias, _ in run.network.layers() for value in (weight, bias)]
    for value, wanted in zip(trained, values, strict=True):
        torch.testing.assert_close(value, wanted, atol=1e-8, rtol=0)


def test_the_network_stays_and_the_result_is_frozen():
    network = random_network((1, 4, 1), seed=1)
    before = [value.clone() for value in network.parameters()]
    run = train(network, X, Y, epochs=3)
    assert all(map(torch.equal, before, network.parameters()))
    assert not any(value.requires_grad for net in (network, run.network) for value in net.parameters())
    assert not any(map(torch.equal, before, run.network.parameters()))


def test_losses_are_those_of_the_networks_after_each_epoch():
    network = random_network((1, 4, 1), seed=1)
    for batch in (None, 7):
        run = train(network, X, Y, epochs=4, lr=0.1, batch=batch, watch=lambda net: (float(net(X)[0]), 1.0))
        assert run.losses.shape == (5,) and run.watched.shape == (5, 2) and run.epochs == 4
        assert run.losses[-1] == pytest.approx(float(((run.network(X) - Y) ** 2).mean()), rel=1e-14)
        assert run.losses[0] == pytest.approx(float(((network(X) - Y) ** 2).mean()), rel=1e-14)
        assert run.watched[-1, 0] == run.network(X)[0].item()
        assert run.watched[0, 0] == pytest.approx(network(X)[0].item(), rel=1e-14)


def test_batches_cover_the_points_once_an_epoch_and_follow_the_seed():
    class Spy(torch.nn.Linear):
        seen = []  # noqa: RUF012  # shared with the copy that is trained

        def forward(self, x):
            if torch.is_grad_enabled():
                Spy.seen.append(x.detach().ravel().tolist())
            return super().forward(x)

    spy = Spy(1, 1, dtype=torch.float64)
    runs = [train(spy, X, Y, epochs=2, batch=8, seed=seed) for seed in (0, 0, 1)]
    epochs = [Spy.seen[i : i + 4] for i in range(0, 24, 4)]
    assert [len(part) for part in epochs[0]] == [8, 8, 8, 6]
    for epoch in epochs:
        assert sorted(itertools.chain(*epoch)) == X.ravel().tolist()
    assert epochs[0] != epochs[1] and epochs[:2] == epochs[2:4] and epochs[0] != epochs[4]
    assert np.array_equal(runs[0].losses, runs[1].losses) and not np.array_equal(runs[0].losses, runs[2].losses)


def test_stop_at_a_loss():
    network = random_network((1, 6, 7, 1))
    whole = train(network, X, Y, lr=0.05, epochs=40)
    target = float(whole.losses[20])
    run = train(network, X, Y, lr=0.05, epochs=40, stop_loss=target)
    first = int(np.argmax(whole.losses <= target))
    assert (run.stopped, run.epochs) == ("stop_loss", first)
    assert np.array_equal(run.losses, whole.losses[: first + 1]) and "stopped: stop_loss" in repr(run)
    assert whole.stopped == "epochs"


def test_zero_epochs_measure_the_start():
    run = train(random_network((1, 2, 1)), X, Y, epochs=0)
    assert (run.epochs, run.stopped, run.losses.shape) == (0, "epochs", (1,))


def test_a_run_that_diverges_returns_its_best_weights():
    run = train(random_network((1, 4, 1), "radial_identity"), X, Y, lr=50.0, epochs=10_000)
    assert run.stopped == "diverged" and not math.isfinite(run.losses[-1])
    assert float(((run.network(X) - Y) ** 2).mean()) == pytest.approx(np.nanmin(run.losses[:-1]), rel=1e-12)


def test_an_interrupt_keeps_the_best_weights():
    calls = itertools.count()

    def watch(network):
        if next(calls) == 5:
            raise KeyboardInterrupt
        return 0.0

    run = train(random_network((1, 4, 1), seed=1), X, Y, lr=0.1, epochs=100, watch=watch)
    assert (run.stopped, run.epochs, run.watched.shape) == ("interrupted", 4, (5, 1))
    reached = float(((run.network(X) - Y) ** 2).mean())
    assert reached == pytest.approx(run.losses.min(), rel=1e-12)


def test_an_interrupt_before_anything_is_known_is_passed_on():
    def watch(network):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        train(random_network((1, 4, 1)), X, Y, watch=watch)


def test_a_time_limit():
    run = train(random_network((1, 4, 1)), X, Y, epochs=10**9, max_seconds=1e-9)
    assert (run.stopped, run.epochs) == ("max_seconds", 0)


def test_cross_entropy_against_its_definition_and_a_loss_of_ones_own():
    network = random_network((1, 4, 3), seed=2)
    classes = (torch.arange(30) % 3).numpy()
    values = network(X).numpy()
    wanted = np.mean(np.log(np.exp(values).sum(axis=1)) - values[np.arange(30), classes])
    assert train(network, X, classes, loss="cross_entropy", epochs=0).losses[0] == pytest.approx(wanted, rel=1e-12)
    run = train(random_network((1, 4, 1)), X, Y, loss=lambda p, y: (p - y).abs().max(), lr=0.05, epochs=20)
    assert run.losses[-1] < run.losses[0]


def test_trainable_shifts_are_trained():
    network = random_network((1, 4, 4, 1), ShiftedReLU(0.1, trainable=True), seed=2)
    run = train(network, X, Y, lr=0.1, epochs=20)
    shifts = [block.activation.shift.item() for block in run.network.blocks[:-1]]
    assert 0.1 not in shifts and shifts[0] != shifts[1]  # one activation per layer


def test_random_networks():
    network = random_network((3, 50, 40, 2), "step_relu", seed=9)
    assert network.widths == (3, 50, 40, 2) and [str(a) for *_, a in network.layers()] == ["StepReLU()"] * 2 + ["None"]
    for weight, bias, _ in network.layers():
        bound = weight.shape[1] ** -0.5
        for value in (weight, bias):
            assert value.abs().max() <= bound
        assert weight.abs().max() > 0.8 * bound and abs(weight.mean()) < 0.3 * bound
    rounded = random_network((3, 50, 40, 2), "step_relu", seed=9, dtype=torch.float32)
    assert all(torch.equal(a.float(), b) for a, b in zip(network.parameters(), rounded.parameters(), strict=True))
    other = random_network((3, 50, 40, 2), "step_relu", seed=10)
    assert not torch.equal(network.blocks[0].weight, other.blocks[0].weight)


NET = random_network((1, 3, 1))
BAD = [
    ((torch.full_like(X, math.nan), Y), {}, ValueError, r"inputs\[0, 0\] = nan"),
    ((X, torch.full_like(Y, math.inf)), {}, ValueError, r"outputs\[0, 0\] = inf"),
    ((X[:0], Y[:0]), {}, ValueError, "received no points"),
    ((X.ravel(), Y), {}, ValueError, r"inputs of shape \(30,\)"),
    ((X, Y[:5]), {}, ValueError, r"outputs of shape \(5, 1\)"),
    ((X.repeat(1, 2), Y), {}, ValueError, r"inputs of shape \(30, 2\)"),
    ((X, Y), {"lr": -1.0}, ValueError, "lr > 0"),
    ((X, Y), {"lr": "fast"}, TypeError, "lr = 'fast'"),
    ((X, Y), {"momentum": 1.5}, ValueError, "0 <= momentum < 1"),
    ((X, Y), {"epochs": -1}, ValueError, "0 <= epochs"),
    ((X, Y), {"epochs": 2.5}, TypeError, "epochs = 2.5"),
    ((X, Y), {"batch": 0}, ValueError, "1 <= batch <= 30"),
    ((X, Y), {"batch": 31}, ValueError, "1 <= batch <= 30"),
    ((X, Y), {"seed": -1}, ValueError, "0 <= seed"),
    ((X, Y), {"loss": "hinge"}, ValueError, "one of cross_entropy, mse"),
    ((X, Y), {"stop_loss": math.nan}, ValueError, "a finite stop_loss"),
    ((X, Y), {"max_seconds": 0}, ValueError, "max_seconds > 0"),
    ((X, Y), {"loss": "cross_entropy"}, ValueError, "30 classes 0, 1"),
    ((X, np.zeros(30, int) - 1), {"loss": "cross_entropy"}, ValueError, "30 classes 0, 1"),
    ((X, np.ones(30, int)), {"loss": "cross_entropy"}, ValueError, "received class 1; required classes below 1"),
    ((X, Y), {"reduced_widths": (1, 4, 1)}, ValueError, "none of them larger"),
]


@pytest.mark.parametrize("arrays, options, error, match", BAD)
def test_train_refuses(arrays, options, error, match):
    with pytest.raises(error, match=match):
        train(NET, *arrays, **options)


def test_train_needs_parameters():
    with pytest.raises(TypeError, match="a module with parameters"):
        train(torch.nn.ReLU(), X, Y)
    with pytest.raises(TypeError, match="a module with parameters"):
        train(lambda x: x, X, Y)


@pytest.mark.parametrize(
    "widths, options, error, match",
    [
        ((1,), {}, ValueError, "input and output width"),
        ((1, 0, 1), {}, ValueError, "1 <= a width"),
        ("121", {}, TypeError, "required integers"),
        ((1, 2), {"kind": "relu"}, ValueError, "one of"),
        ((1, 2), {"kind": torch.nn.ReLU()}, TypeError, "a RadialActivation or its name"),
        ((1, 2), {"dtype": torch.int32}, TypeError, "a real floating dtype"),
        ((1, 2), {"seed": -1}, ValueError, "0 <= seed"),
    ],
)
def test_random_network_refuses(widths, options, error, match):
    with pytest.raises(error, match=match):
        random_network(widths, **options)


def test_training_is_what_train_returns():
    assert isinstance(train(NET, X.numpy(), Y.numpy(), epochs=1), Training)
