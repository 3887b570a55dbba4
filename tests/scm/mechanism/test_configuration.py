"""Configurations of the parents, looked up once."""

import pytest
import torch
from mechanisms import AGE, DOSE, SEX, SOURCE, VIEW

from cxrcausal.scm.mechanism.configuration import Configurations, level_count

CPU = torch.device("cpu")


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
