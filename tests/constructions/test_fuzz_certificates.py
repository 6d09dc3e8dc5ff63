"""A short run of the fuzzer of certificates, and the proof that it sees wrong bounds."""

from dataclasses import replace

import pytest

from tests.benchmarks import fuzz_certificates as fuzz


@pytest.mark.parametrize("kind", fuzz.KINDS)
def test_certificates_survive_attacks(kind):
    for seed in range(2):
        outcome, wrong, _ = fuzz.run_case(kind, seed, seconds=0.15)
        assert not wrong, (seed, outcome, wrong)


@pytest.mark.parametrize("kind", ["step", "ellipsoids", "squashing", "mixed", "infinity"])
@pytest.mark.parametrize("factors", [(0.5, 0.9), (1.1, 1.5)], ids=["upper", "lower"])
def test_wrong_bounds_are_seen(kind, factors, monkeypatch):
    true = fuzz.certify

    def worse(network, target, domain, **_):
        report = true(network, target, domain, max_seconds=0.2, tol=1e-3)
        return replace(report, lower=factors[0] * report.upper, upper=factors[1] * report.upper)

    monkeypatch.setattr(fuzz, "certify", worse)
    assert any(fuzz.run_case(kind, seed, seconds=0.2)[1] for seed in range(1, 4))
