"""One more workload, ``readings``, for each Python that has this folder on PYTHONPATH: command line and workers.

Python runs this file when it starts. Which workloads there are stands in one tuple of the package, and nothing outside
of it adds to that; so the module beside this file is found in the package's place, and its name is added to the tuple.
"""

import importlib.util
import sys
from pathlib import Path

REGISTRY = "modelyard.workloads.registry"
WORKLOAD = "modelyard.workloads.readings"


class ReadingsFinder:
    """Finds the workload, and the registry in which its name is added."""

    def find_spec(self, name, *_):
        if name == WORKLOAD:
            return importlib.util.spec_from_file_location(name, Path(__file__).with_name("readings.py"))
        if name != REGISTRY:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        sys.meta_path.insert(0, self)
        execute = spec.loader.exec_module

        def execute_and_add(module):
            execute(module)
            module.NAMES += ("readings",)

        spec.loader.exec_module = execute_and_add
        return spec


sys.meta_path.insert(0, ReadingsFinder())
