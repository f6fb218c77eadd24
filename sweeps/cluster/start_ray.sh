#!/usr/bin/env bash
# Starts Ray on a node, patiently: `start_ray.sh ray start OPTIONS...`.
#
# Ray gives up where its processes take longer than half a minute to start, as on a machine that is
# busy at that moment, and the launcher does not try such a machine again. So it is tried here.
set -euo pipefail
for pause_s in 5 30 120; do
  if "$@"; then exit 0; fi
  ray stop --force
  sleep "$pause_s"
done
exec "$@"
