"""Many runs: the sweep file, the Optuna study, Ray actors, the run folder, the command line."""
