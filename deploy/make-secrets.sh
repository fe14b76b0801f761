#!/bin/sh
# Makes the secrets that docker-compose.yml mounts, each in a file of its own, by default in
# deploy/secrets/. A file that is there is left alone: to change a password, change it in the
# server that knows it too. Keep a copy of the keystore's passphrase in a safe place: without
# it the agency keys are lost.
#
# The folder is closed to other accounts of this host; the files are readable, for they are
# mounted one by one into containers that run under accounts of their own.
set -eu
folder=${1:-$(dirname "$0")/secrets}

umask 077
mkdir -p "$folder"
chmod 700 "$folder"
for name in postgres_password s3_access_key s3_secret_key keystore_passphrase chain_token; do
	[ -s "$folder/$name" ] && continue
	# Whole or not at all: a secret cut short by a crash would be taken for a good one.
	openssl rand -hex 24 >"$folder/.$name.tmp"
	chmod 444 "$folder/.$name.tmp"
	mv "$folder/.$name.tmp" "$folder/$name"
	echo "made $folder/$name"
done
