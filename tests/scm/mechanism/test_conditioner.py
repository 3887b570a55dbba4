"""Parents as numbers, and the network that starts as a regression."""

import pytest
import torch
from mechanisms import AGE, DOSE, SEX, SOURCE

from cxrcausal.scm.mechanism.conditioner import Conditioner, ParentFeatures


def calibrated(rows=500):
    features = ParentFeatures((SOURCE, DOSE))
    generator = torch.Generator().manual_seed(0)
    dose = torch.randn(rows, generator=generator, dtype=torch.float64).exp()
    pa = {"source": torch.zeros(rows).double(), "dose": dose}
    features.calibrate(pa, torch.ones(rows).double())
    return features, pa


class TestFeatures:
    def test_an_indicator_per_level_but_the_first(self):
        """Three levels become two columns, of which one is set."""
        columns = ParentFeatures((SOURCE,))({"source": torch.tensor([0.0, 1.0, 2.0])})
        assert columns.tolist() == [[0, 0], [1, 0], [0, 1]]

    def test_spline_columns_are_white_on_the_rows_of_the_fit(self):
        """Centred, of unit spread and uncorrelated, so that a penalty weighs them alike."""
        features, pa = calibrated()
        columns = features(pa)[:, 2:]
        torch.testing.assert_close(columns.mean(0), torch.zeros(5).double(), rtol=0, atol=1e-9)
        spread = columns.mT @ columns / len(columns)
        torch.testing.assert_close(spread, torch.eye(5).double(), rtol=0, atol=1e-6)

    def test_straight_beyond_the_data(self):
        """Far outside the knots the columns go on in a straight line."""
        features, _ = calibrated()
        dose = torch.tensor([50.0, 60.0, 70.0, -50.0, -60.0, -70.0], dtype=torch.float64)
        far = features({"source": torch.zeros(6), "dose": dose})[:, 2:]
        bend = torch.stack((far[0] - 2 * far[1] + far[2], far[3] - 2 * far[4] + far[5]))
        assert float((bend.abs() / far.abs().max()).max()) < 1e-6

    def test_a_spline_follows_a_curve(self):
        """Five columns of age follow a smooth curve to a fiftieth of its height."""
        features = ParentFeatures((AGE,))
        years = torch.arange(111, dtype=torch.float64)
        features.calibrate({"age": years}, torch.ones(111).double())
        design = torch.cat((features({"age": years}), torch.ones(111, 1).double()), 1)
        curve = torch.sigmoid((years - 60) / 10)[:, None]
        fitted = design @ torch.linalg.lstsq(design, curve).solution
        assert float((fitted - curve).abs().max()) < 0.02

    @pytest.mark.parametrize("values", [[3.0, 3.0, 3.0], [0.0, 1.0, 1.0], [5.0]])
    def test_few_distinct_values_do_no_harm(self, values):
        """A parent that hardly varies gives finite columns."""
        features, dose = ParentFeatures((DOSE,)), torch.tensor(values, dtype=torch.float64)
        features.calibrate({"dose": dose}, torch.ones(len(dose)).double())
        assert torch.isfinite(features({"dose": dose})).all()

    def test_a_saturated_map_has_no_residual(self):
        """One discrete parent, or none, leaves nothing for a residual network to learn."""
        assert Conditioner((SOURCE,), 1, (8,)).hidden == ()
        assert Conditioner((), 1, (8,)).hidden == ()
        assert Conditioner((SOURCE, SEX), 1, (8,)).hidden == (8,)

    def test_building_a_network_leaves_the_global_random_state_alone(self):
        """Weights come from a generator that is handed in."""
        before = torch.random.get_rng_state()
        network = Conditioner((SOURCE, DOSE), 3, (8, 8)).network
        network.initialise(torch.Generator().manual_seed(1))
        assert torch.equal(torch.random.get_rng_state(), before)
        assert network.layers[0].weight.abs().max() > 0
        assert network.layers[-1].weight.abs().max() == 0
