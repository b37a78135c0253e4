"""The faults of ``tools/mutants.py`` are planted in the code as it is."""

import pytest
from scripts import TOOLS, importable

with importable(TOOLS):
    import mutants


@pytest.mark.parametrize("plant", mutants.PLANTS, ids=lambda plant: plant.name)
def test_a_plant_has_one_place_and_tests_that_there_are(plant):
    mutants.check_plants([plant])
