package main

import (
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stele/notary/proof"
	"stele/storage/storagetest"
	"stele/storage/storagetest/freeport"
)

// The settings that docker-compose.yml mounts, with the containers' addresses replaced by
// those of the test's servers, through the whole life of an instance: bucket with object
// lock, init twice, agency, key, serve, notarize, health check, fsck.
func TestComposeSettings(t *testing.T) {
	dsn, minio := storagetest.StartDurablePostgres(t), storagetest.NewMinIO(t).Bucket(t, false)
	minio.Name += "-compose" // does not exist: init creates it
	s := onServers(t, dsn, minio)
	u, err := url.Parse(dsn)
	fatalIfErr(t, err)
	u.User = url.User(u.User.Username())
	addr := freeport.Address(t)
	for name, value := range map[string]string{
		"STELE_CONFIG": filepath.Join("..", "..", "..", "deploy", "stele.yaml"), "STELE_DATA": s.data,
		"STELE_KEYS":            filepath.Join(s.data, "keys"),
		"STELE_PASSPHRASE_FILE": filepath.Join(s.data, "passphrase"), "STELE_LISTEN": addr,
		"STELE_METRICS_LISTEN": "127.0.0.1:0",
		"STELE_DATABASE":       u.String(), "STELE_DATABASE_PASSWORD_FILE": filepath.Join(s.data, "db-password"),
		"STELE_S3_ENDPOINT": minio.Endpoint,
		"STELE_S3_BUCKET":   minio.Name, "STELE_S3_ACCESS_KEY_FILE": filepath.Join(s.data, "s3-access"),
		"STELE_S3_SECRET_KEY_FILE": filepath.Join(s.data, "s3-secret"),
	} {
		t.Setenv(name, value)
	}
	fatalIfErr(t, os.WriteFile(filepath.Join(s.data, "passphrase"), []byte("a passphrase of the test\n"), 0o400))
	plain := site{data: s.data}
	must := func(verb ...string) string {
		t.Helper()
		out, errs, code := plain.output(t, verb...)
		if code != 0 {
			t.Fatalf("%v: exit %d: %s", verb, code, errs)
		}
		return out
	}
	if shown := must("config"); strings.Contains(shown, "a passphrase") ||
		!strings.Contains(shown, "s3-retention-days: 3650") {
		t.Errorf("config shows\n%s", shown)
	}
	must("init", "--create-bucket", "--if-missing")
	if again := must("init", "--create-bucket", "--if-missing"); !strings.Contains(again, "nothing was changed") {
		t.Error(again)
	}
	must("agency", "add", "--code", demoCode, "--name", demoName, "--region", demoRegion)
	var key struct{ Key string }
	fatalIfErr(t, json.Unmarshal([]byte(must("apikey", "add", "--agency", demoCode, "--json")), &key))

	srv := &server{site: plain, t: t, info: demoInfo{URL: "http://" + addr, APIKey: key.Key}, log: &lockedBuffer{},
		done: make(chan struct{})}
	srv.cmd = plain.command(t, "serve")
	srv.cmd.Stderr = srv.log
	fatalIfErr(t, srv.cmd.Start())
	go func() { _ = srv.cmd.Wait(); close(srv.done) }()
	t.Cleanup(srv.kill)
	eventually(t, "the server is ready", func() bool {
		_, _, code := plain.output(t, "healthcheck")
		return code == 0
	})
	text, err := os.ReadFile(filepath.Join(s.data, "trust.json"))
	fatalIfErr(t, err)
	srv.trust, err = proof.ParseTrust(text)
	fatalIfErr(t, err)
	rec := srv.notarize(fileRequest([]byte("%PDF-1.7 production"), `{"title":"Under object lock"}`, ""))
	srv.notarize(digestRequest(newDigest(), "", "anchored"))
	srv.demand(rec, proof.Genuine)
	srv.stop()
	if res := plain.fsck(t); res.Documents != 1 {
		t.Errorf("%+v", res)
	}
	if _, _, code := plain.output(t, "healthcheck"); code == 0 {
		t.Error("a stopped server is healthy")
	}
}
