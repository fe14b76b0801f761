#!/bin/sh
# Runs commands beside each other: deploy/lanes.sh LOGS NAME=COMMAND ... [then NAME=COMMAND ...]
#
# What follows `then` runs when all before it has ended, however it ended. Lines are shown behind the
# name of their lane; LOGS/NAME.log keeps them. A lane that fails stops no other. The end says how each
# one went, shows again what failed, and exits with 1 if anything did.
set -u
logs=$1
shift
rm -rf "$logs" && mkdir -p "$logs" || exit 1
# An interrupt reaches neither the lanes, which run in the background, nor their children by itself.
trap 'trap - TERM; kill -TERM 0; exit 130' INT TERM

# lane NAME COMMAND leaves its exit code and its seconds in NAME.end: without that file it has failed.
lane() {
	begin=$(date +%s)
	{
		sh -c "$2"
		code=$?
		echo "$code $(($(date +%s) - begin))" >"$logs/$1.end"
	} 2>&1 | tee "$logs/$1.log" | while IFS= read -r line || [ -n "$line" ]; do
		printf '%s | %s\n' "$1" "$line"
	done
}

names=
for argument; do
	if [ "$argument" = then ]; then
		wait
		continue
	fi
	names="$names ${argument%%=*}"
	lane "${argument%%=*}" "${argument#*=}" &
done
wait

failed=
printf '\n'
for name in $names; do
	code=killed seconds=?
	[ ! -f "$logs/$name.end" ] || read -r code seconds <"$logs/$name.end"
	if [ "$code" = 0 ]; then
		printf 'ok      %-10s %5s s\n' "$name" "$seconds"
	else
		failed="$failed $name"
		printf 'FAILED  %-10s %5s s  exit code %s, see %s\n' "$name" "$seconds" "$code" "$logs/$name.log"
	fi
done
for name in $failed; do
	printf '\n%s failed:\n' "$name"
	# The last pattern names the tests that ran when a package's time was up. What a test says comes
	# after its name.
	found=$(grep -nE -A 6 '^ *--- FAIL|^FAIL|^panic:|DATA RACE|Error [0-9]+$|^[[:space:]]+Test[^ ]+ \([0-9hms.]+\)$' \
	  "$logs/$name.log" | cut -c 1-400 | head -n 60)
	[ -n "$found" ] || found=$(tail -n 15 "$logs/$name.log")
	printf '%s\n' "$found"
done
[ -z "$failed" ]
