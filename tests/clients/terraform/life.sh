#!/usr/bin/env bash
# plan, apply, a plan without a difference, a change, and destroy. TERRAFORM is the program,
# PLUGINS the folder with its provider, PROVIDER 1 or 5, ENDPOINT the server.
set -euo pipefail
: "${NAME:?}" "${ENDPOINT:?}" "${ACCOUNT:?}" "${WORK:?}" "${AWS_REGION:?}" "${AWS_ACCESS_KEY_ID:?}" "${AWS_SECRET_ACCESS_KEY:?}"
here=$(cd "$(dirname "$0")" && pwd)
cp "$here/main.tf" "$here/provider-$PROVIDER.tf" "$WORK/"
cd "$WORK"
export TF_IN_AUTOMATION=1 TF_INPUT=0 CHECKPOINT_DISABLE=1 AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null AWS_EC2_METADATA_DISABLED=true
export TF_CLI_CONFIG_FILE="$WORK/terraform.rc" TF_VAR_name=$NAME TF_VAR_endpoint=$ENDPOINT
: >"$TF_CLI_CONFIG_FILE"
fail() { echo "FAIL: $*" >&2; exit 1; }
step() { echo "$(date +%T) $*"; }
tf() { "$TERRAFORM" "$@" -no-color; }
unchanged() { # a plan must find that all is as described
  local status=0
  tf plan -detailed-exitcode "$@" >plan.txt 2>&1 || status=$?
  [ $status = 0 ] || { cat plan.txt; fail "the plan is not empty after apply (exit code $status)"; }
}
# What is there must not stay there, whatever happens.
trap 'status=$?; [ $status = 0 ] || tf destroy $force >destroy.txt 2>&1 || tail -n 20 destroy.txt; exit $status' EXIT

force=-auto-approve
if [ "$PROVIDER" = 1 ]; then
  step init
  tf init -plugin-dir "$PLUGINS" -get-plugins=false >init.txt || { cat init.txt; fail init; }
elif [ -d "$PLUGINS/registry.terraform.io" ] || [ -d "$PLUGINS/registry.opentofu.org" ]; then
  step "init from a mirror"
  tf init -plugin-dir="$PLUGINS" >init.txt || { cat init.txt; fail init; }
else
  printf 'provider_installation {\n  dev_overrides {\n    "hashicorp/aws" = "%s"\n  }\n  direct {}\n}\n' "$PLUGINS" >"$TF_CLI_CONFIG_FILE"
fi

step plan
tf plan -out first.plan >plan.txt || { cat plan.txt; fail plan; }
step apply
tf apply first.plan >apply.txt || { cat apply.txt; fail apply; }
grep -q '4 added, 0 changed, 0 destroyed' apply.txt || { cat apply.txt; fail "not 4 resources were made"; }
[ "$(tf output account | tr -d '"')" = "$ACCOUNT" ] || fail "another account"
step "plan again"
unchanged
step change
tf apply $force -var count_of_tasks=2 >apply.txt || { cat apply.txt; fail "apply of a change"; }
unchanged -var count_of_tasks=2
step "a new revision"
tf apply $force -var count_of_tasks=2 -var setting=3 >apply.txt || { cat apply.txt; fail "apply of a new revision"; }
unchanged -var count_of_tasks=2 -var setting=3
step "what is there is read"
tf refresh -var count_of_tasks=2 -var setting=3 >refresh.txt || { cat refresh.txt; fail refresh; }
step destroy
tf destroy $force >destroy.txt || { cat destroy.txt; fail destroy; }
grep -q '4 destroyed' destroy.txt || { cat destroy.txt; fail "not 4 resources were destroyed"; }
echo "ok"
