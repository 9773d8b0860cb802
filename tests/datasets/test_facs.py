"""Names of action units."""

from mien.datasets.facs import facs_units, unit_name
from mien.datasets.labels import label_map
from mien.synthesis.head.actions import unit_table
from mien.synthesis.timeline import read_table


def test_every_unit_of_the_label_maps_has_a_name() -> None:
    units = {unit for name in ("au12", "cd6me") for unit in label_map(name).units}
    assert units <= facs_units().keys()
    assert unit_name(99) == "AU99"


def test_the_tables_of_synthetic_motion_use_the_same_names() -> None:
    for table in (unit_table(), read_table("action_units")):
        for code, entry in table.items():
            assert entry["name"] == unit_name(int(code.removeprefix("AU")))
