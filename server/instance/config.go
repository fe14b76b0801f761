// Package instance is one Stele instance on its real parts: its configuration, its explicit
// creation, its start-up checks and its running. Only commands import it; it names the
// storage adapters so that nothing below has to.
package instance

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"stele/notary/office/review"
	"stele/server/http/caller"
	"stele/server/remote/clamd"
)

// Config is everything that can be set, by file, environment or flag; a flag beats the
// environment, that beats the file. Secrets are never among the values: they lie in files,
// and what names them can be shown.
type Config struct {
	Data   string `name:"data" env:"STELE_DATA" default:"data" help:"Folder of the instance; other paths default to places inside it." yaml:"data"`
	Listen string `name:"listen" env:"STELE_LISTEN" default:"127.0.0.1:8080" help:"Address of the public HTTP listener." yaml:"listen"`

	MetricsListen string `name:"metrics-listen" env:"STELE_METRICS_LISTEN" help:"Address of the private listener for /metrics; empty for none." yaml:"metrics-listen"`
	PprofListen   string `name:"pprof-listen" env:"STELE_PPROF_LISTEN" help:"Loopback address of a listener for profiles of this process, such as 127.0.0.1:6060; empty for none." yaml:"pprof-listen"`
	PublicURL     string `name:"public-url" env:"STELE_PUBLIC_URL" help:"How the world reaches this service, printed on certificates." yaml:"public-url"`
	Operator      string `name:"operator" env:"STELE_OPERATOR" help:"Who runs this service: its name stands at the foot of the public pages and on verification reports." yaml:"operator"`

	TrustedProxies string `name:"trusted-proxies" env:"STELE_TRUSTED_PROXIES" help:"Addresses or networks, in CIDR notation, of the reverse proxies that connect to this service, with commas between them; needs client-ip-header." yaml:"trusted-proxies"`
	ClientIP       string `name:"client-ip-header" env:"STELE_CLIENT_IP_HEADER" help:"Header in which those proxies name the client: X-Forwarded-For, Forwarded, X-Real-IP or another one with a single address; needs trusted-proxies." yaml:"client-ip-header"`
	ProxyHops      int    `name:"proxy-hops" env:"STELE_PROXY_HOPS" default:"1" help:"How many proxies a request passes: the client's address is that many from the right in the header." yaml:"proxy-hops"`

	Database             string `name:"database" env:"STELE_DATABASE" help:"postgres://user@host/name?sslmode=… or sqlite:path; default sqlite in the data folder." yaml:"database"`
	DatabasePasswordFile string `name:"database-password-file" env:"STELE_DATABASE_PASSWORD_FILE" help:"File with the database password." yaml:"database-password-file"`

	Objects    string `name:"objects" env:"STELE_OBJECTS" default:"dir" enum:"dir,s3" help:"Where documents and tiles lie: dir or s3." yaml:"objects"`
	ObjectsDir string `name:"objects-dir" env:"STELE_OBJECTS_DIR" help:"Folder for objects=dir; default objects in the data folder." yaml:"objects-dir"`

	S3Endpoint       string `name:"s3-endpoint" env:"STELE_S3_ENDPOINT" help:"host[:port] of the S3 server." yaml:"s3-endpoint"`
	S3PublicEndpoint string `name:"s3-public-endpoint" env:"STELE_S3_PUBLIC_ENDPOINT" help:"Where clients reach the S3 server for direct uploads, as https://host[:port]; default as s3-endpoint and s3-tls say." yaml:"s3-public-endpoint"`

	S3Region        string `name:"s3-region" env:"STELE_S3_REGION" help:"S3 region." yaml:"s3-region"`
	S3Bucket        string `name:"s3-bucket" env:"STELE_S3_BUCKET" help:"S3 bucket; it must exist." yaml:"s3-bucket"`
	S3Prefix        string `name:"s3-prefix" env:"STELE_S3_PREFIX" help:"Prefix of all keys in the bucket." yaml:"s3-prefix"`
	S3TLS           bool   `name:"s3-tls" env:"STELE_S3_TLS" default:"true" negatable:"" help:"Speak HTTPS to the S3 server." yaml:"s3-tls"`
	S3AccessKeyFile string `name:"s3-access-key-file" env:"STELE_S3_ACCESS_KEY_FILE" help:"File with the S3 access key." yaml:"s3-access-key-file"`
	S3SecretKeyFile string `name:"s3-secret-key-file" env:"STELE_S3_SECRET_KEY_FILE" help:"File with the S3 secret key." yaml:"s3-secret-key-file"`
	S3RetentionMode string `name:"s3-retention-mode" env:"STELE_S3_RETENTION_MODE" default:"" enum:",GOVERNANCE,COMPLIANCE" help:"Object lock for documents: GOVERNANCE, COMPLIANCE or empty." yaml:"s3-retention-mode"`
	S3RetentionDays int    `name:"s3-retention-days" env:"STELE_S3_RETENTION_DAYS" help:"Days of object lock." yaml:"s3-retention-days"`

	Keys           string `name:"keys" env:"STELE_KEYS" help:"Folder of the encrypted keys; default keys in the data folder." yaml:"keys"`
	PassphraseFile string `name:"passphrase-file" env:"STELE_PASSPHRASE_FILE" help:"File with the passphrase of the keys; or set STELE_PASSPHRASE." yaml:"passphrase-file"`
	Chain          string `name:"chain" env:"STELE_CHAIN" default:"embedded" enum:"embedded,nodes,none" help:"embedded: this server runs the validator in the data folder. nodes: validators run elsewhere, see chain-nodes. none: another server of this instance anchors." yaml:"chain"`
	ChainNodes     string `name:"chain-nodes" env:"STELE_CHAIN_NODES" help:"Nodes of the chain for chain=nodes, as http://host:port with commas between them; any of them may be away." yaml:"chain-nodes"`
	ChainTokenFile string `name:"chain-token-file" env:"STELE_CHAIN_TOKEN_FILE" help:"File with the token that those nodes want." yaml:"chain-token-file"`
	Anchors        string `name:"anchors" env:"STELE_ANCHORS" help:"YAML file of the anchor policy: which chains, how often, which are required; default anchors.yaml in the data folder, if it is there." yaml:"anchors"`

	MaxDocument     int64 `name:"max-document" env:"STELE_MAX_DOCUMENT" default:"17179869184" help:"Largest document in bytes." yaml:"max-document"`
	MaxPublicUpload int64 `name:"max-public-upload" env:"STELE_MAX_PUBLIC_UPLOAD" default:"268435456" help:"Largest file in bytes that anybody may have hashed by the server." yaml:"max-public-upload"`
	MaxBatch        int   `name:"max-batch" env:"STELE_MAX_BATCH" default:"10000" help:"Most records in one batch call." yaml:"max-batch"`
	MaxConnections  int   `name:"max-connections" env:"STELE_MAX_CONNECTIONS" default:"4096" help:"Most connections at once; more are refused with 503." yaml:"max-connections"`
	// Below the former, so that one address cannot take all.
	MaxConnectionsPerAddress int `name:"max-connections-per-address" env:"STELE_MAX_CONNECTIONS_PER_ADDRESS" default:"1024" help:"Most connections of one address at once; more are refused with 503. Trusted proxies may have any number." yaml:"max-connections-per-address"`

	RequestsPerMinute int           `name:"requests-per-minute" env:"STELE_REQUESTS_PER_MINUTE" default:"600000" help:"Requests of an API key per minute, where the key has no limit of its own." yaml:"requests-per-minute"`
	LookupsPerMinute  int           `name:"lookups-per-minute" env:"STELE_LOOKUPS_PER_MINUTE" default:"120" help:"Public lookups and verifications per address and minute." yaml:"lookups-per-minute"`
	ReadTimeout       time.Duration `name:"read-timeout" env:"STELE_READ_TIMEOUT" default:"30s" help:"A request that sends nothing for this long is given up." yaml:"read-timeout"`
	StopDelay         time.Duration `name:"stop-delay" env:"STELE_STOP_DELAY" default:"0s" help:"How long /readyz says 503 while all else is served, when the server is asked to stop: longer than a load balancer takes to notice." yaml:"stop-delay"`
	StopTimeout       time.Duration `name:"stop-timeout" env:"STELE_STOP_TIMEOUT" default:"30s" help:"How long requests under way may take when the server is asked to stop." yaml:"stop-timeout"`
	MaxUploads        int           `name:"max-uploads" env:"STELE_MAX_UPLOADS" default:"200" help:"Uploads that an agency may have at a time that are not notarized yet." yaml:"max-uploads"`
	UploadExpiry      time.Duration `name:"upload-expiry" env:"STELE_UPLOAD_EXPIRY" default:"24h" help:"How long after its last byte an upload is kept that nobody notarizes." yaml:"upload-expiry"`
	ClockTolerance    time.Duration `name:"clock-tolerance" env:"STELE_CLOCK_TOLERANCE" default:"30s" help:"How far this machine's clock may be from the database server's, the bucket's and the chain's; beyond that nothing is signed." yaml:"clock-tolerance"`
	SweepAfter        time.Duration `name:"sweep-after" env:"STELE_SWEEP_AFTER" default:"24h" help:"Age at which a document without a record is removed." yaml:"sweep-after"`
	TailKeep          time.Duration `name:"tail-keep" env:"STELE_TAIL_KEEP" default:"168h" help:"How long what was received stays in the object store, sealed, for 'stele recover-tail': longer than the newest backup of the database is old. 0 keeps nothing." yaml:"tail-keep"`

	WebhookAllow string        `name:"webhook-allow" env:"STELE_WEBHOOK_ALLOW" help:"Networks that webhooks may be sent to, and single sign-on be asked in, although they are not public, in CIDR notation with commas between them." yaml:"webhook-allow"`
	WebhookKeep  time.Duration `name:"webhook-keep" env:"STELE_WEBHOOK_KEEP" default:"720h" help:"How long finished webhook deliveries and their attempts are kept." yaml:"webhook-keep"`

	Clamd string `name:"clamd" env:"STELE_CLAMD" help:"ClamAV daemon that looks through the files that people hand in at the console: tcp:host:port or unix:path; empty for none." yaml:"clamd"`

	Console bool `name:"console" env:"STELE_CONSOLE" default:"true" negatable:"" help:"Serve the console, where the people of agencies sign in, at /console." yaml:"console"`

	StatusPause time.Duration `name:"status-pause" env:"STELE_STATUS_PAUSE" default:"60s" help:"Least time between two status statements in the log, by which bundles show that a record was not revoked." yaml:"status-pause"`

	AuditSealEvery time.Duration `name:"audit-seal-every" env:"STELE_AUDIT_SEAL_EVERY" default:"5m" help:"How long what people did waits at most until it is sealed in the log." yaml:"audit-seal-every"`
	AuditAgency    string        `name:"audit-agency" env:"STELE_AUDIT_AGENCY" help:"Credit code of the agency that signs the audit trail of operators and of agencies with their key at home; default the first with a key here." yaml:"audit-agency"`

	// set by the program: what runs [ReadDocument]; empty: documents are read in this process
	ReadCommand []string `kong:"-" yaml:"-"`

	// set by the program: webhooks may go to this machine, and nobody needs a second factor
	Demo bool `kong:"-" yaml:"-"`

	LogLevel  string `name:"log-level" env:"STELE_LOG_LEVEL" default:"info" enum:"debug,info,warn,error" help:"Least level that is logged." yaml:"log-level"`
	LogFormat string `name:"log-format" env:"STELE_LOG_FORMAT" default:"text" enum:"text,json" help:"text or json." yaml:"log-format"`
}

// Resolve fills in the paths that default to places inside the data folder and checks what
// depends on more than one value.
func (c Config) Resolve() (Config, error) {
	def := func(p *string, parts ...string) {
		if *p == "" {
			*p = filepath.Join(append([]string{c.Data}, parts...)...)
		}
	}
	def(&c.Keys, "keys")
	def(&c.ObjectsDir, "objects")
	if c.PassphraseFile == "" && os.Getenv(PassphraseEnv) == "" {
		c.PassphraseFile = filepath.Join(c.Keys, "passphrase")
	}
	if c.Database == "" {
		c.Database = "sqlite:" + filepath.Join(c.Data, "stele.db")
	}
	if c.AuditSealEvery == 0 {
		c.AuditSealEvery = defaultSealEvery
	}
	if c.StatusPause == 0 {
		c.StatusPause = defaultStatusPause
	}
	if c.ClockTolerance == 0 {
		c.ClockTolerance = defaultTolerance
	}
	var errs []error
	if c.Objects == "s3" {
		for _, v := range []struct{ name, value string }{{"s3-endpoint", c.S3Endpoint}, {"s3-bucket", c.S3Bucket},
			{"s3-access-key-file", c.S3AccessKeyFile}, {"s3-secret-key-file", c.S3SecretKeyFile}} {
			if v.value == "" {
				errs = append(errs, fmt.Errorf("objects=s3 needs %s", v.name))
			}
		}
	}
	if c.Chain == "nodes" && len(c.chainNodes()) == 0 {
		errs = append(errs, errors.New("chain=nodes needs chain-nodes"))
	}
	if strings.Contains(c.Database, "://") && strings.Contains(strings.SplitN(c.Database, "@", 2)[0], "postgres") &&
		hasPassword(c.Database) {
		errs = append(errs,
			errors.New("the database URL holds a password: put it into a file and name that with "+
				"database-password-file"))
	}
	for name, n := range map[string]int64{"max-document": c.MaxDocument, "max-public-upload": c.MaxPublicUpload,
		"max-batch":       int64(c.MaxBatch),
		"max-connections": int64(c.MaxConnections), "max-connections-per-address": int64(c.MaxConnectionsPerAddress),
		"lookups-per-minute": int64(c.LookupsPerMinute), "requests-per-minute": int64(c.RequestsPerMinute),
		"read-timeout": int64(c.ReadTimeout),
		"stop-timeout": int64(c.StopTimeout), "webhook-keep": int64(c.WebhookKeep), "max-uploads": int64(c.MaxUploads),
		"upload-expiry":    int64(c.UploadExpiry),
		"audit-seal-every": int64(c.AuditSealEvery), "clock-tolerance": int64(c.ClockTolerance),
		"status-pause": int64(c.StatusPause)} {
		if n <= 0 {
			errs = append(errs, fmt.Errorf("%s must be larger than zero", name))
		}
	}
	if c.TailKeep < 0 {
		errs = append(errs,
			errors.New("tail-keep must not be less than zero: give the time in hours, such as 168h, or 0 to keep "+
				"nothing"))
	}
	if c.PprofListen != "" && !loopback(c.PprofListen) {
		errs = append(errs, fmt.Errorf("pprof-listen: %q is not a loopback address with a port, such as "+
			"127.0.0.1:6060: profiles hold what is in memory, and whoever can ask for them can slow the service down",
			c.PprofListen))
	}
	if _, err := c.callers(); err != nil {
		errs = append(errs, err)
	}
	if _, err := c.webhookPolicy(); err != nil {
		errs = append(errs, err)
	}
	if _, err := c.scanner(); err != nil {
		errs = append(errs, fmt.Errorf("clamd: %w", err))
	}
	return c, errors.Join(errs...)
}

// loopback reports whether an address to listen on cannot be reached from another machine. A name
// is none: what it means is decided elsewhere.
func loopback(address string) bool {
	a, err := netip.ParseAddrPort(address)
	return err == nil && a.Addr().Unmap().IsLoopback()
}

// callers are the rules by which a request's address is found.
func (c Config) callers() (caller.Rules, error) {
	return caller.NewRules(c.TrustedProxies, c.ClientIP, cmp.Or(c.ProxyHops, 1))
}

// scanner is the configured malware scanner, or nil.
func (c Config) scanner() (review.Scanner, error) {
	if c.Clamd == "" {
		return nil, nil
	}
	client, err := clamd.Parse(c.Clamd)
	if err != nil {
		return nil, err
	}
	return client, nil
}

// postgres reports whether the database is one, not SQLite.
func (c Config) postgres() bool { return !strings.HasPrefix(c.Database, "sqlite:") }

func hasPassword(dbURL string) bool {
	_, rest, _ := strings.Cut(dbURL, "://")
	user, _, ok := strings.Cut(rest, "@")
	return ok && strings.Contains(user, ":")
}

// PassphraseEnv is the environment variable that may hold the passphrase of the keys.
const PassphraseEnv = "STELE_PASSPHRASE"

// YAML returns the configuration as a file. There is no secret in it by construction; a
// database URL with a password is refused by [Config.Resolve] and masked here all the same.
func (c Config) YAML() ([]byte, error) {
	if hasPassword(c.Database) {
		scheme, rest, _ := strings.Cut(c.Database, "://")
		_, host, _ := strings.Cut(rest, "@")
		c.Database = scheme + "://[redacted]@" + host
	}
	return yaml.Marshal(c)
}

// Paths of the files of an instance.
func (c Config) path(name string) string    { return filepath.Join(c.Data, name) }
func (c Config) keyPath(name string) string { return filepath.Join(c.Keys, name) }

// TrustPath is where the instance's trust roots lie.
func (c Config) TrustPath() string { return c.path("trust.json") }

// Names of the files in the key folder.
const (
	fileRootKey        = "root.key"
	fileRootCert       = "root.crt"
	fileLogKey         = "log.key"
	fileNotaryCert     = "notary.crt"
	fileCosignKey      = "chain-cosign.key"
	fileConsensusKey   = "chain-consensus.key"
	fileNodeKey        = "chain-node.key"
	fileWebhookKey     = "webhook.key"
	folderChain        = "chain"
	fileIdentity       = "instance.json"
	objectIdentity     = "instance.json"
	folderAgencyPrefix = "agency-"
)

func agencyKeyFile(agencyID string) string  { return folderAgencyPrefix + agencyID + ".key" }
func agencyCertFile(agencyID string) string { return folderAgencyPrefix + agencyID + ".crt" }
