#!/bin/sh
# Installs what Stele's tests need: PostgreSQL, MinIO, Versity S3 Gateway, OpenSSL, poppler, unzip, systemd-analyze, clamd, nginx, HAProxy, Node.js,
# Java with Maven and BouncyCastle, Chromium with a Chinese font, Firefox, staticcheck, govulncheck, cyclonedx-gomod, and Schemathesis. Called by `make tools`, from the root of the checkout or anywhere.
#
# What is there is left as it is, so it may be run again at any time. Debian packages need
# root or sudo; the Go programs, a virtual environment of Python
# and a library of Java go into .tools/ of the checkout. At the end it says what
# could not be installed, and how to do that by hand, and exits with 1.
set -u
cd "$(dirname "$0")/.." || exit 1

# The versions that the tests were written with. MinIO publishes no binaries any more.
minio=github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c
versitygw=github.com/versity/versitygw/cmd/versitygw@v1.8.0
staticcheck=honnef.co/go/tools/cmd/staticcheck@v0.8.2
govulncheck=golang.org/x/vuln/cmd/govulncheck@v1.8.0
cyclonedx=github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0
bouncycastle=org.bouncycastle:bcprov-jdk18on:1.80
maven_copy=org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy

failed=""
fail() { # what went wrong, and how to do it by hand
	printf 'FAILED: %s\n' "$1" >&2
	failed="$failed
  $1
    by hand: $2"
}

have() { command -v "$1" >/dev/null 2>&1; }

have_postgresql() {
	for initdb in /usr/lib/postgresql/*/bin/initdb; do
		[ -x "$initdb" ] && return 0
	done
	have initdb
}

have_chromium() { have chromium || have chromium-browser || have google-chrome; }

have_firefox() { have firefox-esr || have firefox; }

have_chinese_font() {
	if have fc-list; then
		[ -n "$(fc-list :lang=zh-cn file 2>/dev/null | head -n 1)" ]
	else
		[ -n "$(find /usr/share/fonts /usr/local/share/fonts "$HOME/.local/share/fonts" \
			\( -iname '*wqy*' -o -iname '*cjk*' -o -iname '*NotoSansSC*' \) 2>/dev/null | head -n 1)" ]
	fi
}

have_nginx() { have nginx || [ -x /usr/sbin/nginx ]; }

have_haproxy() { have haproxy || [ -x /usr/sbin/haproxy ]; }

have_clamd() { have clamd || [ -x /usr/sbin/clamd ]; }

# The library is there, and its bytes are those that the test pins.
have_bouncycastle() {
	[ -d .tools/bouncycastle ] && (cd .tools/bouncycastle && sha256sum --check --status ../../crypto/pki/testdata/bouncycastle.sha256)
}

# Debian ships the module without what it needs to make anything.
have_venv() { have python3 && python3 -c 'import ensurepip, venv' 2>/dev/null; }

missing_packages() {
	have_postgresql || echo postgresql
	have openssl || echo openssl
	have pdftoppm || echo poppler-utils
	have unzip || echo unzip
	have systemd-analyze || echo systemd
	have ip || echo iproute2
	have_chromium || echo chromium
	have_firefox || echo firefox-esr
	have_chinese_font || echo fonts-wqy-microhei
	have_clamd || echo clamav-daemon
	have node || echo nodejs
	have python3 || echo python3
	have_venv || echo python3-venv
	have_nginx || echo nginx-light
	have_haproxy || echo haproxy
	have javac || echo default-jdk-headless
	have_bouncycastle || have mvn || echo maven
}

install_packages() {
	packages=$(missing_packages)
	[ -n "$packages" ] || return 0
	packages=$(echo $packages)
	by_hand="install these with your system's package manager, under the names it has for them: $packages"
	if ! have apt-get; then
		fail "no apt-get on this system, missing: $packages" "$by_hand"
		return
	fi
	by_hand="sudo apt-get update && sudo apt-get install -y --no-install-recommends $packages"
	as_root=""
	if [ "$(id -u)" -ne 0 ]; then
		if ! have sudo; then
			fail "neither root nor sudo, missing: $packages" "as root: $by_hand"
			return
		fi
		as_root="sudo"
	fi
	echo "installing $packages"
	$as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq ||
		echo "apt-get update failed; going on with the package lists that are there" >&2
	# One by one: a package that cannot be had must not keep the others away.
	for package in $packages; do
		$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >/dev/null ||
			fail "apt-get install $package" "sudo apt-get update && sudo apt-get install -y --no-install-recommends $package"
	done
}

# install_go NAME MODULE@VERSION builds a program into .tools/ unless that version is there.
install_go() {
	program=.tools/$1
	if [ -x "$program" ] && [ "$(go version -m "$program" 2>/dev/null | awk '$1 == "mod" { print $3 }')" = "${2##*@}" ]; then
		return
	fi
	echo "building $1, which takes some minutes the first time"
	# The flags of this module do not concern another one.
	GOBIN="$PWD/.tools" GOFLAGS= go install "$2" ||
		fail "go install $2" "GOBIN=$PWD/.tools go install $2 (needs access to a Go module proxy)"
}

# install_schemathesis makes .tools/schemathesis unless the versions in schemathesis.txt are there.
install_schemathesis() {
	place=.tools/schemathesis
	if [ -x "$place/bin/schemathesis" ] && cmp -s deploy/schemathesis.txt "$place/installed.txt"; then
		return
	fi
	echo "installing Schemathesis"
	rm -rf "$place"
	if python3 -m venv "$place" && "$place/bin/pip" install --quiet --requirement deploy/schemathesis.txt &&
		"$place/bin/schemathesis" --version >/dev/null; then
		cp deploy/schemathesis.txt "$place/installed.txt"
		return
	fi
	fail "pip install --requirement deploy/schemathesis.txt" \
		"python3 -m venv $place && $place/bin/pip install --requirement deploy/schemathesis.txt (Python 3.10 or later; needs access to a Python package index)"
}

# install_bouncycastle fetches the library into .tools/bouncycastle unless it is there.
install_bouncycastle() {
	have_bouncycastle && return
	echo "fetching BouncyCastle"
	rm -rf .tools/bouncycastle
	mvn -q -B "$maven_copy" -Dartifact="$bouncycastle" -DoutputDirectory="$PWD/.tools/bouncycastle" && have_bouncycastle ||
		fail "mvn $maven_copy of $bouncycastle, with the SHA-256 in crypto/pki/testdata/bouncycastle.sha256" \
			"put the file that crypto/pki/testdata/bouncycastle.sha256 names into $PWD/.tools/bouncycastle (needs Maven and access to a Maven repository)"
}

install_packages
install_schemathesis
install_bouncycastle
if have go; then
	mkdir -p .tools
	install_go minio "$minio"
	install_go versitygw "$versitygw"
	install_go staticcheck "$staticcheck"
	install_go govulncheck "$govulncheck"
	install_go cyclonedx-gomod "$cyclonedx"
else
	fail "Go is not installed" "install the Go of go.mod, see https://go.dev/doc/install"
fi

if [ -n "$failed" ]; then
	printf '\nNot everything could be installed:%s\n' "$failed" >&2
	exit 1
fi
echo "all test tools are there"
