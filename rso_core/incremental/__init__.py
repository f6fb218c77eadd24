"""The engines that compute only what a changed weight changes."""
