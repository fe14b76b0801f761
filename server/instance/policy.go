package instance

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"stele/notary/log/anchor/bsn"
	"stele/notary/proof"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/bsnproof/gateway"
)

// fileAnchors is the policy's name in the data folder.
const fileAnchors = "anchors.yaml"

// AnchorPolicy says on which chains the log is anchored, how often on each, and on which of
// them a record must be to count as anchored. Without a file it is the chain of the trust
// roots alone, at once. There are no secrets in it: keys lie in the key folder.
type AnchorPolicy struct {
	Egov ChainPolicy `yaml:"egov"`
	BSN  []BSNPolicy `yaml:"bsn"`
}

// ChainPolicy is what holds for every chain.
type ChainPolicy struct {
	Required bool          `yaml:"required"` // records are anchored only with this chain's evidence
	Every    time.Duration `yaml:"every"`    // pause between two anchors; 0 anchors at once
	Records  uint64        `yaml:"records"`  // so many waiting records end the pause; 0 for any number
}

// BSNPolicy is an application behind BSN gateways.
type BSNPolicy struct {
	Name      string   `yaml:"name"`      // what people call the chain; stands in reports
	Gateways  []string `yaml:"gateways"`  // addresses without a path, the preferred one first
	User      string   `yaml:"user"`      // user code
	App       string   `yaml:"app"`       // app code
	Framework string   `yaml:"framework"` // fabric, which is the default, or fisco
	ChainCode string   `yaml:"chaincode"` // deployment name of the base chaincode; under fisco the contract's name
	Contract  string   `yaml:"contract"`  // address of the base contract, under fisco alone
	// sub-user of transactions; empty for the participant, under fisco for "stele"
	UserName string `yaml:"user-name"`
	// file of the application's access key; default bsn-<app>.key in the key folder
	Key        string `yaml:"key"`
	GatewayKey string `yaml:"gateway-key"` // PEM of the gateway's public key
	// PEM of the certificates that the gateways' are issued under; empty for the system's
	CA          string `yaml:"ca"`
	InsecureTLS bool   `yaml:"insecure-tls"` // accept any certificate of a gateway: macs are checked all the same
	ChainPolicy `yaml:",inline"`
}

// ReadAnchorPolicy reads the policy of a configuration and checks it.
func ReadAnchorPolicy(c Config) (AnchorPolicy, error) {
	p := AnchorPolicy{Egov: ChainPolicy{Required: true}}
	path := c.Anchors
	if path == "" {
		path = c.path(fileAnchors)
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && c.Anchors == "" {
		return p, nil
	}
	if err != nil {
		return p, fmt.Errorf("anchor policy: %w", err)
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&p); err != nil && !errors.Is(err, io.EOF) {
		return p, fmt.Errorf("anchor policy %s: %w", path, err)
	}
	if err := p.check(); err != nil {
		return p, fmt.Errorf("anchor policy %s: %w", path, err)
	}
	return p, nil
}

func (p AnchorPolicy) check() error {
	if len(p.required()) == 0 {
		return errors.New("one chain at least must be required, or no record will ever count as anchored")
	}
	seen := map[string]bool{}
	for i, b := range p.BSN {
		if _, err := b.trusted(); err != nil {
			return fmt.Errorf("bsn chain %d: %w", i+1, err)
		}
		if seen[b.App] {
			return fmt.Errorf("bsn chain %d: the application %s stands there twice", i+1, b.App)
		}
		seen[b.App] = true
		if b.Framework != "" && bsn.Framework(b.Framework) != bsn.Fabric && !b.fisco() {
			return fmt.Errorf("bsn chain %d: %q is no framework: there are fabric and fisco", i+1, b.Framework)
		}
		if (b.Contract != "") != b.fisco() {
			return fmt.Errorf(
				"bsn chain %d: the contract's address belongs to the framework fisco, and is needed there", i+1)
		}
		if b.Every < 0 || len(b.Gateways) == 0 || b.User == "" || b.ChainCode == "" {
			return fmt.Errorf("bsn chain %d: gateways, user and chaincode are needed, and no pause can be negative",
				i+1)
		}
		for _, g := range b.Gateways {
			if u, err := url.Parse(g); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" ||
				u.Path != "" || u.RawQuery != "" || u.User != nil {
				return fmt.Errorf("bsn chain %d: %q is no address such as https://host:17602", i+1, g)
			}
		}
	}
	return nil
}

// required names the chains that a record must be on, as the database knows them.
func (p AnchorPolicy) required() []string {
	var names []string
	if p.Egov.Required {
		names = append(names, anchorproof.Kind)
	}
	for _, b := range p.BSN {
		if b.Required {
			names = append(names, b.target())
		}
	}
	return names
}

// longestPause is how long a record may wait for the turn of a chain that is required.
func (p AnchorPolicy) longestPause() (longest time.Duration) {
	if p.Egov.Required {
		longest = p.Egov.Every
	}
	for _, b := range p.BSN {
		if b.Required {
			longest = max(longest, b.Every)
		}
	}
	return longest
}

// target is the chain's name in the database.
func (b BSNPolicy) target() string { return b.kind() + " " + b.pinned() }

func (b BSNPolicy) fisco() bool { return bsn.Framework(b.Framework) == bsn.FISCO }

// kind is that of the evidence.
func (b BSNPolicy) kind() string {
	if b.fisco() {
		return proof.KindBSNFISCO
	}
	return proof.KindBSNFabric
}

// pinned is what trust roots know the application as.
func (b BSNPolicy) pinned() string {
	if b.fisco() {
		return b.Contract
	}
	return b.App
}

func (b BSNPolicy) trusted() (proof.TrustedGateway, error) {
	key, err := gateway.ParsePublicKeyPEM([]byte(b.GatewayKey))
	if err != nil {
		return proof.TrustedGateway{}, fmt.Errorf("gateway-key: %w", err)
	}
	g := proof.TrustedGateway{Kind: b.kind(), App: b.pinned(), Name: b.Name, Key: key}
	return g, g.Check()
}

// keyPath is where the application's access key lies.
func (b BSNPolicy) keyPath(c Config) string {
	if b.Key == "" {
		return c.keyPath(BSNKeyFile(b.App))
	}
	if strings.ContainsRune(b.Key, filepath.Separator) {
		return b.Key
	}
	return c.keyPath(b.Key)
}

// BSNKeyFile is the name of an application's access key in the key folder.
func BSNKeyFile(app string) string { return "bsn-" + app + ".key" }

// YAML is the policy as a file.
func (p AnchorPolicy) YAML() ([]byte, error) { return yaml.Marshal(p) }
