#!/usr/bin/env bash
# Makes the cluster's token on its head, once: a file that only its owner can read, from which Ray
# takes it. It is in no command line, and the launcher brings it to the workers over SSH.
set -euo pipefail
token=~/.ray/auth_token
if [ ! -s "$token" ]; then
  umask 077
  "$HOME/rso-sweep-env/bin/ray" get-auth-token --generate > /dev/null
fi
chmod 600 "$token"
