#!/bin/sh
# Writes the bills of materials of both programs into a folder: CycloneDX 1.6, JSON. Called by
# `make sbom` with bin; the programs that it describes are those of `make build` at this commit and on
# this kind of machine. Licences are what was detected, as evidence; docs/dependencies.md has those
# that were looked at.
set -eu
out=$1
cd "$(dirname "$0")/.."
program=.tools/cyclonedx-gomod
if [ ! -x "$program" ]; then
	echo "cyclonedx-gomod is missing: run make tools" >&2
	exit 1
fi
for main in server/cmd/stele notary/cmd/stele-verify; do
	CGO_ENABLED=0 "$program" app -json -licenses -noserial -notimestamp -output-version 1.6 \
		-output "$out/$(basename "$main").cdx.json" -main "$main" .
done
