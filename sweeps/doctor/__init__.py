"""Examines a Ray cluster before a sweep.

findings.py, facts.py   what is found, and from which facts
checks.py               from the facts to the findings; pure, with node_checks.py, ...
gathering.py            asks all nodes; probe.py and on_node.py run there
printing.py             findings as lines and JSON
command.py              what `rso-sweep doctor` does; `examined` within a connected Ray
"""
