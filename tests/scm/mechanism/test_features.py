"""Parents as numbers, configurations looked up once, and the network that starts as a
regression.
"""

import pytest
import torch
from mechanisms import AGE, DOSE, SEX, SOURCE, VIEW

from cxrcausal.scm.mechanism.conditioner import Conditioner, ParentFeatures
from cxrcausal.scm.mechanism.configuration import Configurations, level_count

CPU = torch.device("cpu")


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


class TestConfigurations:
    def look_back(self, configurations, pa):
        """Each row's configuration is its own parents."""
        for name, values in configurations.parents.items():
            expected = torch.broadcast_to(pa[name], configurations.index.shape)
            assert torch.equal(values[configurations.index], expected)

    def test_few_joint_values_are_all_listed(self):
        """222 ages by sex are listed in a fixed order, whatever the batch."""
        pa = {"age": torch.tensor([[0.0, 35.0, 110.0]]).double(), "sex": torch.ones(4, 1).double()}
        configurations = Configurations.of((AGE, SEX), pa, CPU)
        assert configurations.is_every
        assert (configurations.count, configurations.index.shape) == (222, (4, 3))
        self.look_back(configurations, pa)

    @pytest.mark.parametrize("rows", [100, 5000])
    def test_many_joint_values_are_listed_as_they_come(self, rows):
        """Too many to list: the rows themselves, or where there are many rows the distinct
        ones.
        """
        generator = torch.Generator().manual_seed(0)
        variables = (AGE, SEX, SOURCE, VIEW, *(AGE_TWO,))
        pa = {
            v.name: torch.randint(level_count(v) // 2 + 1, (rows,), generator=generator).double()
            for v in variables
        }
        pa["age two"] = pa["age"]
        configurations = Configurations.of(variables, pa, CPU)
        assert not configurations.is_every
        assert configurations.count == (
            rows if rows == 100 else len(torch.unique(_stack(pa), dim=0))
        )
        self.look_back(configurations, pa)

    def test_off_the_grid_rows_stand_for_themselves(self):
        """An age of 45.5 is not rounded to a year that the table knows."""
        pa = {"age": torch.tensor([45.0, 45.5]).double()}
        configurations = Configurations.of((AGE,), pa, CPU)
        assert not configurations.is_every
        self.look_back(configurations, pa)

    def test_a_continuum_is_taken_row_by_row(self):
        """A dose without a grid has no list of values."""
        pa = {"dose": torch.linspace(0, 1, 600).double()}
        configurations = Configurations.of((DOSE,), pa, CPU)
        assert (configurations.count, configurations.is_every) == (600, False)
        self.look_back(configurations, pa)


AGE_TWO = type(AGE)("age two", "continuous", bounds=(0.0, 110.0), resolution=1.0)


def _stack(pa):
    return torch.stack(list(pa.values()), -1)
