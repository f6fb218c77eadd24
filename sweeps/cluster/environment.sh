# What every shell on a machine of a cluster begins with; `install.sh` puts it into ~/.bashrc.
export PATH="$HOME/rso-sweep-env/bin:$PATH"

# Without the cluster's token, which lies in ~/.ray/auth_token, nobody can do anything there.
export RAY_AUTH_MODE=token
export RAY_USAGE_STATS_ENABLED=0
