"""What starts Ray clusters for sweeps, as files; README.md tells of them."""
