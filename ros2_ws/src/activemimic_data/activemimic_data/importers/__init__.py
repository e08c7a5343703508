"""Datasets of others, as ours: AgiBot-World and EgoMimic.

In: their HDF5 files and videos. Out: the same folder that `dataset.build_dataset` writes. Each importer reads one
format, converts units and conventions in one place, and refuses what it does not understand. Where public sources
disagree on a convention, it is an option.
"""

from activemimic_data.importers.agibot_world import AgibotOptions, import_agibot_world
from activemimic_data.importers.egomimic import EgomimicOptions, import_egomimic

__all__ = ["AgibotOptions", "EgomimicOptions", "import_agibot_world", "import_egomimic"]
