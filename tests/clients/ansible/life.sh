#!/usr/bin/env bash
# Plays life.yml: made, unchanged, changed, unchanged, gone. PROGRAMS is where install put
# the clients.
set -euo pipefail
: "${NAME:?}" "${ENDPOINT:?}" "${ACCOUNT:?}" "${AWS_REGION:?}" "${AWS_ACCESS_KEY_ID:?}" "${AWS_SECRET_ACCESS_KEY:?}"
here=$(cd "$(dirname "$0")" && pwd)
export ANSIBLE_COLLECTIONS_PATH="$PROGRAMS/ansible" ANSIBLE_LOCALHOST_WARNING=false ANSIBLE_INVENTORY_UNPARSED_WARNING=false ANSIBLE_NOCOLOR=1 ANSIBLE_HOME="$WORK/ansible"
play() { # CHANGED ARGS...: plays, and so many tasks must have changed something
  local out
  out=$("$PROGRAMS/python/bin/ansible-playbook" "$here/life.yml" -e ansible_python_interpreter="$PROGRAMS/python/bin/python" "${@:2}" 2>&1) || { echo "$out"; exit 1; }
  echo "$(date +%T) ${*:2} $(grep -o 'changed=[0-9]*' <<<"$out")"
  grep -q "changed=$1 " <<<"$out" || { echo "$out"; echo "FAIL: not $1 tasks changed something"; exit 1; }
}
play 4
play 0
play 1 -e wanted=2
play 0 -e wanted=2
play 4 -e state=absent
echo "ok"
