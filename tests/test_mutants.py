"""The faults of ``tools/mutants.py`` are planted in the code as it is."""

import pytest
from scripts import TOOLS, importable

with importable(TOOLS):
    import mutants


@pytest.mark.parametrize("plant", mutants.PLANTS, ids=lambda plant: plant.name)
def test_a_plant_has_one_place_and_tests_that_there_are(plant):
    mutants.check_plants([plant])


def test_tests_that_fail_without_a_plant_are_shown(tmp_path):
    (tmp_path / "test_sound.py").write_text("def test_sound(): pass\n")
    (tmp_path / "test_odd.py").write_text("def test_odd(): assert 1 == 2\n")
    sound, odd = (
        mutants.PLANTS[0]._replace(tests=(name,))
        for name in ("test_sound.py", "test_odd.py")
    )
    mutants.check_soundness(tmp_path, [sound])
    with pytest.raises(SystemExit, match="(?s)assert 1 == 2.*test_odd.py fail without"):
        mutants.check_soundness(tmp_path, [sound, odd])


def test_tests_without_an_end_die(tmp_path, monkeypatch):
    monkeypatch.setattr(mutants, "PATIENCE", 0.2)
    (tmp_path / "test_slow.py").write_text(
        "import time\ndef test_slow(): time.sleep(600)\n"
    )
    code, printed = mutants.run_tests(tmp_path, ["test_slow.py"])
    assert code == mutants.FAILED and "ended after 0.2 s" in printed
