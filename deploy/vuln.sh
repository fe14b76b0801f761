#!/bin/sh
# Looks for known weaknesses in what the programs call, with govulncheck and its database. Called by
# `make vuln`. Where the database does not answer nothing was checked: it says so, and ends with 0, or
# with 4 where VULN=required. GOVULNDB may name a copy of the database, as file:///folder.
#
# Exit codes: 0 nothing known, or not checked; 3 weaknesses, listed; 4 not checked although required;
# others: govulncheck's own trouble.
set -u
cd "$(dirname "$0")/.." || exit 1
program=.tools/govulncheck
if [ ! -x "$program" ]; then
	echo "govulncheck is missing: run make tools" >&2
	exit 1
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
"$program" "${@:-./...}" >"$log" 2>&1
code=$?
cat "$log"
if [ "$code" -ne 0 ] && grep -q '^govulncheck: fetching vulnerabilities' "$log"; then
	echo "NOT CHECKED for known weaknesses: the database of vulnerabilities does not answer from here."
	echo "Run make vuln where it does, or with GOVULNDB set to a copy of it, before anything is released."
	[ "${VULN:-}" = required ] && exit 4
	exit 0
fi
exit "$code"
