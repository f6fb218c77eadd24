"""`rso-sweep watch`: the main parts of the report in a terminal, while the sweep runs."""
