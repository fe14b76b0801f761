// Package deploy_test checks the files that put Stele into service: no engine runs here,
// but what a loader, a shell and a parser can find wrong is found.
package deploy_test

import (
	"errors"
	"io/fs"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v3"
)

// mustLoad loads the compose file with its secrets in the given folder.
func mustLoad(t *testing.T, secrets string) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{"../docker-compose.yml"},
		cli.WithWorkingDirectory(".."), cli.WithEnv([]string{"STELE_SECRETS_DIR=" + secrets}),
		cli.WithInterpolation(true), cli.WithProfiles([]string{"validators", "ceremony"}))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return project
}

func TestServices(t *testing.T) {
	p := mustLoad(t, t.TempDir())
	want := []string{"minio", "node-1", "node-2", "node-3", "node-4", "nodes-init", "postgres", "stele", "stele-init"}
	if got := slices.Sorted(maps.Keys(p.Services)); !slices.Equal(got, want) {
		t.Fatalf("services %q, want %q", got, want)
	}
	for name, s := range p.Services {
		t.Run(name, func(t *testing.T) { checkHardened(t, s) })
	}
	if p.Networks["back"].Internal != true {
		t.Error("the network of database and bucket is not internal")
	}
}

// checkHardened is what every service has in common.
func checkHardened(t *testing.T, s types.ServiceConfig) {
	if s.Privileged || len(s.CapAdd) > 0 || s.NetworkMode == "host" || s.Pid == "host" || len(s.Devices) > 0 {
		t.Error("has more rights than a service needs")
	}
	uid, _, _ := strings.Cut(s.User, ":")
	if uid == "" || uid == "0" || uid == "root" {
		t.Errorf("runs as %q", s.User)
	}
	if !s.ReadOnly || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") || !slices.Contains(s.CapDrop, "ALL") {
		t.Errorf("read_only %t, security_opt %q, cap_drop %q", s.ReadOnly, s.SecurityOpt, s.CapDrop)
	}
	if !exactTag(s.Image) {
		t.Errorf("image %q has no exact tag", s.Image)
	}
	if !strings.HasSuffix(s.Name, "-init") && (s.HealthCheck == nil || len(s.HealthCheck.Test) == 0 ||
		s.HealthCheck.Disable) {
		t.Error("has no health check")
	}
	for _, v := range s.Volumes {
		if strings.Contains(v.Source, "docker.sock") {
			t.Error("can command the engine")
		}
	}
	secret := regexp.MustCompile(`(?i)(password|secret|passphrase|access_?key|root_user)$`)
	for key := range s.Environment {
		if secret.MatchString(key) {
			t.Errorf("the secret %s stands in the environment, not in a file", key)
		}
	}
}

// exactTag reports whether an image is named by a tag that says a version.
func exactTag(image string) bool {
	_, tag, ok := strings.Cut(image, ":")
	return ok && tag != "" && tag != "latest"
}

func TestOnlySteleIsPublished(t *testing.T) {
	for name, s := range mustLoad(t, t.TempDir()).Services {
		switch {
		case name != "stele" && len(s.Ports) > 0:
			t.Errorf("%s publishes %v", name, s.Ports)
		case name == "stele" && (len(s.Ports) != 1 || s.Ports[0].Target != 8080 ||
			!net.ParseIP(s.Ports[0].HostIP).IsLoopback()):
			t.Errorf("stele publishes %+v, want its public port on the loopback interface", s.Ports)
		}
		if _, front := s.Networks["front"]; front && name != "stele" {
			t.Errorf("%s is on the outer network", name)
		}
	}
}

func TestStartOrder(t *testing.T) {
	p := mustLoad(t, t.TempDir())
	for service, want := range map[string]map[string]string{
		"stele-init": {"postgres": types.ServiceConditionHealthy, "minio": types.ServiceConditionHealthy},
		"stele": {"postgres": types.ServiceConditionHealthy, "minio": types.ServiceConditionHealthy,
			"stele-init": types.ServiceConditionCompletedSuccessfully},
	} {
		t.Run(service, func(t *testing.T) {
			for dependency, condition := range want {
				if got := p.Services[service].DependsOn[dependency]; got.Condition != condition || !got.Required {
					t.Errorf("%s waits for %s: %+v, want %s", service, dependency, got, condition)
				}
			}
		})
	}
	init := p.Services["stele-init"]
	if init.Restart != "no" ||
		!slices.Equal([]string(init.Command), []string{"init", "--create-bucket", "--if-missing"}) {
		t.Errorf("stele-init restarts %q and runs %q", init.Restart, init.Command)
	}
	if init.Image != p.Services["stele"].Image {
		t.Error("stele-init is of another image than stele")
	}
}

// Four validators, of the profile only: each with its own home, the one token, and an address
// that stele knows.
func TestValidators(t *testing.T) {
	p := mustLoad(t, t.TempDir())
	for _, name := range []string{"node-1", "node-2", "node-3", "node-4"} {
		s := p.Services[name]
		home, token := s.Environment["STELE_NODE_HOME"], "/run/secrets/chain_token"
		if !slices.Equal(s.Profiles, []string{"validators"}) || home == nil || *home != "/nodes/"+name ||
			!slices.Contains(s.Command, token) || s.Image != p.Services["stele"].Image {
			t.Errorf("%s: profiles %q, home %v, command %q", name, s.Profiles, home, s.Command)
		}
		if nodes := p.Services["stele"].Environment["STELE_CHAIN_NODES"]; nodes == nil ||
			!strings.Contains(*nodes, "http://"+name+":26660") {
			t.Errorf("stele does not know %s", name)
		}
		if !slices.Contains(p.Services["nodes-init"].Command, name+"="+name+":26656") {
			t.Errorf("nobody makes the home of %s", name)
		}
	}
	if kind := p.Services["stele"].Environment["STELE_CHAIN"]; kind == nil || *kind != "embedded" {
		t.Errorf("without the profile the chain is %v", kind)
	}
}

// The script makes exactly the secrets that the services mount, and no second time.
func TestSecrets(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "secrets")
	run := func() {
		t.Helper()
		if out, err := exec.Command("/bin/sh", "make-secrets.sh", folder).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	run()
	p := mustLoad(t, folder)
	made := map[string]string{}
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(folder, e.Name()))
		if err != nil || len(strings.TrimSpace(string(data))) < 40 {
			t.Errorf("%s: %d bytes, %v", e.Name(), len(data), err)
		}
		made[e.Name()] = string(data)
	}
	if got, want := slices.Sorted(maps.Keys(made)), slices.Sorted(maps.Keys(p.Secrets)); !slices.Equal(got, want) {
		t.Errorf("made %q, the compose file names %q", got, want)
	}
	used := map[string]bool{}
	for _, s := range p.Services {
		for _, secret := range s.Secrets {
			used[secret.Source] = true
		}
	}
	for name, secret := range p.Secrets {
		if secret.File != filepath.Join(folder, name) || !used[name] {
			t.Errorf("secret %s is the file %s, used: %t", name, secret.File, used[name])
		}
	}
	run()
	for name, data := range made {
		again, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil || string(again) != data {
			t.Errorf("%s was made anew, %v", name, err)
		}
	}
	if info, err := os.Stat(folder); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder is open to others: %v, %v", info.Mode(), err)
	}
}

// Every secret file that the settings name is mounted, and every config file exists.
func TestSettings(t *testing.T) {
	p := mustLoad(t, t.TempDir())
	text, err := os.ReadFile("stele.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var settings map[string]any
	if err := yaml.Unmarshal(text, &settings); err != nil {
		t.Fatal(err)
	}
	mounted := map[string]bool{}
	for _, s := range p.Services["stele"].Secrets {
		mounted["/run/secrets/"+s.Source] = true
	}
	named := regexp.MustCompile(`/run/secrets/\w+`).FindAllString(string(text), -1)
	if len(named) != len(mounted) {
		t.Errorf("the settings name %d secrets, %d are mounted", len(named), len(mounted))
	}
	for _, path := range named {
		if !mounted[path] {
			t.Errorf("%s is not mounted", path)
		}
	}
	for name, c := range p.Configs {
		if _, err := os.Stat(c.File); err != nil {
			t.Errorf("config %s: %v", name, err)
		}
	}
	for name := range p.Services {
		if b := p.Services[name].Build; b != nil {
			if _, err := os.Stat(filepath.Join(b.Context, b.Dockerfile)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestDockerfile(t *testing.T) {
	text, err := os.ReadFile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	stages := map[string]bool{"scratch": true}
	users := map[string]string{}
	stage := ""
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 4 && fields[0] == "FROM":
			if base := fields[1]; !stages[base] && !exactTag(base) {
				t.Errorf("base image %s has no exact tag", base)
			}
			stage = fields[3]
			stages[stage] = true
		case len(fields) > 0 && fields[0] == "FROM":
			t.Errorf("a stage without a name: %s", line)
		case len(fields) == 2 && fields[0] == "USER":
			users[stage] = fields[1]
		}
	}
	if !strings.Contains(string(text), "CGO_ENABLED=0") {
		t.Error("the program is not static")
	}
	for _, s := range mustLoad(t, t.TempDir()).Services {
		if s.Build == nil {
			continue
		}
		if !stages[s.Build.Target] || users[s.Build.Target] != s.User {
			t.Errorf("%s: the stage %q runs as %q, the service as %q", s.Name, s.Build.Target, users[s.Build.Target],
				s.User)
		}
	}
}

// The images hold the Go and the MinIO that the checkout is tested with.
func TestVersionsAgree(t *testing.T) {
	read := func(name string) string {
		t.Helper()
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	minio := regexp.MustCompile(`github\.com/minio/minio@\S+`)
	image, script := minio.FindString(read("Dockerfile")), minio.FindString(read("install-test-tools.sh"))
	if image == "" || image != script {
		t.Errorf("the image has %q, the tests run on %q", image, script)
	}
	module := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read("../go.mod"))
	for _, base := range regexp.MustCompile(`golang:(\d+\.\d+)`).FindAllStringSubmatch(read("Dockerfile"), -1) {
		if base[1] != module[1] {
			t.Errorf("an image is built with Go %s, go.mod says %s", base[1], module[1])
		}
	}
}

// Scripts are sound for a shell, and executable.
func TestScripts(t *testing.T) {
	for _, script := range []string{"install-test-tools.sh", "lanes.sh", "make-secrets.sh", "../.ci/run"} {
		if out, err := exec.Command("/bin/sh", "-n", script).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", script, err, out)
		}
		info, err := os.Stat(script)
		if errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode().Perm()&0o111 != 0o111 {
			t.Errorf("%s: %v, must be executable", script, err)
		}
	}
}
