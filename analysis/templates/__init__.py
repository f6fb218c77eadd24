"""The page of a report, as a jinja2 template."""
