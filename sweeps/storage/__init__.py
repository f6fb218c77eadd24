"""Where a sweep is kept: folders on disks and at addresses, logs, locks, studies, checkpoints."""
