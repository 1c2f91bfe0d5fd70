"""What watches a fleet, made by code: rules, dashboards and the pages that explain them.

`python -m tools.monitoring` writes `dashboards/` and `docs/`; `--check` tells what is out of date.
"""
